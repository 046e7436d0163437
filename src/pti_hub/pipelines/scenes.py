"""What one call edits: photographs, the faces in them, and the edits of each face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

from pti_hub.edits import AnyEdit, EditInput
from pti_hub.errors import InputError
from pti_hub.faces import Align, FaceChoice
from pti_hub.images import ImageInput, Photograph, read_photograph
from pti_hub.personalization import Personalization
from pti_hub.pipelines.components import Components
from pti_hub.pipelines.identities import Identities, find_identities, in_photograph
from pti_hub.pipelines.inputs import Target, read_targets

ImageOrIdentity: TypeAlias = "ImageInput | Personalization"

EditsByFace: TypeAlias = "EditInput | Mapping[int | str, EditInput]"
"""Edits for all faces, or by the number of a face or the name of an identity."""

SUBJECT = "subject"
"""Name of the pivot of a face without a name."""


@dataclass(frozen=True)
class Subject:
    """One face to edit.

    Attributes:
        number: Of a photograph's face, the number in that photograph; of an identity, the place in the call.
        edits: The edits of the face, in order; there may be none.
        source: What is to be learned, or what was learned before.
        name: Name of the face's pivot.
    """

    number: int
    edits: list[AnyEdit]
    source: Target | Personalization
    name: str = SUBJECT


@dataclass(frozen=True)
class Scene:
    """Faces that are put back into one photograph.

    Attributes:
        photograph: The photograph; `None` for identities without one.
        subjects: The faces; at least one.
        is_chosen: Whether the faces were chosen among those of the photograph.
    """

    photograph: Photograph | None
    subjects: list[Subject]
    is_chosen: bool = False


def read_scenes(
    components: Components,
    items: Sequence[ImageOrIdentity],
    edit: EditsByFace | None,
    photograph: ImageInput | None = None,
    align: Align = "auto",
    face: FaceChoice = None,
) -> list[Scene]:
    """Look up and read all that a call names, before the long work begins.

    Args:
        components: The pipeline.
        items: Personalisations, names of loaded identities, or photographs.
        edit: Edits for all faces, or by face. If `face` is `None`, the faces that `edit` has numbers for are chosen.
        photograph: For identities, the photograph that all of them were tuned on.
        align: As in `PTIPipeline.__call__`.
        face: As in `PTIPipeline.__call__`.

    Raises:
        InputError: An edit is unknown or names a face that is not there; a photograph is given for an item that is one
            itself; see also `find_identities`, `in_photograph` and `read_faces`.
    """
    given = [item for item in items if isinstance(item, Personalization)]
    edits = _parse(components, edit, given)
    known = [find_identities(components, item) for item in items]
    if isinstance(edits, dict) and any(known) and not all(known) and any(isinstance(key, int) for key in edits):
        raise InputError("edits by number are for photographs or for identities; give the two in separate calls")
    if photograph is not None:
        if not all(known):
            raise InputError("photograph= is for identities that were tuned before; a photograph brings itself")
        picture = read_photograph(photograph)
        scenes = [Scene(picture, _identities([in_photograph(k, picture) for k in known if k], edits))]
    else:
        scenes, count = [], 0
        for item, identities in zip(items, known, strict=True):
            if identities is None:
                scenes.append(_photograph(components, cast("ImageInput", item), edits, align, face))
            else:
                scenes.append(Scene(None, _identities([identities], edits, count)))
                count += len(identities.names)
    _check(edits, scenes)
    return scenes


def run_folder_of(folder: str | Path | None, scenes: Sequence[Scene], i: int, subject: Subject) -> Path | None:
    """The run folder of one face: numbered if there are several photographs, and if the face was chosen."""
    if folder is None:
        return None
    return Path(folder, *[str(i)] * (len(scenes) > 1), *[str(subject.number)] * scenes[i].is_chosen)


_Edits: TypeAlias = "list[AnyEdit] | dict[int | str, list[AnyEdit]]"


def _parse(components: Components, edit: EditsByFace | None, given: Sequence[Personalization]) -> _Edits:
    if not isinstance(edit, Mapping):
        return components.parse(edit, given)
    if not edit or not all(isinstance(key, (int, str)) and not isinstance(key, bool) for key in edit):
        raise InputError(f"edit={dict(edit)!r}; expected edits by the number of a face or the name of an identity")
    return {key: components.parse(value, given) for key, value in edit.items()}


def _photograph(components: Components, image: ImageInput, edits: _Edits, align: Align, face: FaceChoice) -> Scene:
    if face is None and isinstance(edits, dict):
        face = [key for key in edits if isinstance(key, int)] or None
    photograph, targets = read_targets(components, image, align, face)
    subjects = [Subject(i, _edits_of(edits, i, SUBJECT), x) for i, x in targets.items()]
    return Scene(photograph, subjects, face is not None)


def _identities(found: Sequence[Identities], edits: _Edits, first: int = 0) -> list[Subject]:
    pairs = [(identities.personalization, name) for identities in found for name in identities.names]
    return [Subject(i, _edits_of(edits, i, name), learned, name) for i, (learned, name) in enumerate(pairs, first)]


def _edits_of(edits: _Edits, number: int, name: str) -> list[AnyEdit]:
    return edits.get(number, []) + edits.get(name, []) if isinstance(edits, dict) else edits


def _check(edits: _Edits, scenes: Sequence[Scene]) -> None:
    """Make sure that every edit is for a face that is there."""
    subjects = [subject for scene in scenes for subject in scene.subjects]
    there = list(dict.fromkeys([*(s.number for s in subjects), *(s.name for s in subjects)]))
    if isinstance(edits, dict) and (missing := [key for key in edits if key not in there]):
        raise InputError(f"there is an edit for {missing}, but the faces are {there}")
