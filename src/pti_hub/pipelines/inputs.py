"""Photographs, names and seeds, as a user gives them."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from torch import Tensor

from pti_hub.errors import ImageError, InputError
from pti_hub.faces import Align, AlignedFace, FaceChoice, Likeness, Placement, aligned_faces
from pti_hub.images import ImageInput, Photograph, read_photograph, to_tensor
from pti_hub.pipelines.components import Components
from pti_hub.pipelines.identities import loaded_names
from pti_hub.storage import tensor_digest

_T = TypeVar("_T")


@dataclass(frozen=True)
class Target:
    """What is learned from a photograph.

    Attributes:
        x: The aligned photograph `[1, 3, R, R]` on the pipeline's device.
        placement: Where in the photograph x lies.
        likeness: The face in x; `None` if none was looked for.
    """

    x: Tensor
    placement: Placement
    likeness: Likeness | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of x, its placement and whether its face is known: a run folder knows the photograph again by it."""
        placement = json.dumps(self.placement.to_json(), sort_keys=True)
        return hashlib.sha256(f"{tensor_digest(self.x)} {placement} {self.likeness is not None}".encode()).hexdigest()


def read_faces(
    components: Components, image: ImageInput, align: Align, face: FaceChoice
) -> tuple[Photograph, dict[int, AlignedFace]]:
    """Read a photograph and bring its faces to FFHQ's alignment, if the generator renders faces.

    Args:
        components: The pipeline.
        image: The photograph.
        align: `True` aligns, `False` does not, `"auto"` aligns the faces of a photograph that is not aligned yet.
        face: Which faces, where there are several.

    Returns:
        The photograph, and the chosen faces by number.

    Raises:
        ImageError: The photograph can't be read, or is a text that names neither a file nor a loaded identity.
        FaceError: It holds no or several faces, or no such face.
        InputError: No such way to align.
    """
    if not (isinstance(align, bool) or (isinstance(align, str) and align == "auto")):
        raise InputError(f"align={align!r}; expected True, False or 'auto'")
    try:
        photograph = read_photograph(image)
    except ImageError as error:
        if isinstance(image, str) and str(error).startswith("no such file"):
            raise ImageError(
                f"{image!r} is neither a file nor a loaded identity; loaded are: {loaded_names(components)}"
            ) from error
        raise
    if align is False or (align == "auto" and not components.aligns_faces):
        return photograph, {0: AlignedFace.whole(photograph.picture)}
    return photograph, aligned_faces(photograph.picture, components.generator.resolution, align, face)


def read_targets(
    components: Components, image: ImageInput, align: Align, face: FaceChoice
) -> tuple[Photograph, dict[int, Target]]:
    """Read a photograph and find what is to be learned from it, by the number of the face; see `read_faces`."""
    photograph, faces = read_faces(components, image, align, face)
    size, digest, targets = photograph.native.size, photograph.digest, {}
    for number, aligned in faces.items():
        side, device = components.generator.resolution, components.device
        x = to_tensor(aligned.picture, side).to(device)
        likeness = None if aligned.landmarks is None else Likeness(x, aligned.landmarks)
        quad = tuple((float(x), float(y)) for x, y in aligned.quad)
        targets[number] = Target(x, Placement(quad, size, digest), likeness)
    return photograph, targets


def read_face(components: Components, image: ImageInput, align: Align, face: int | None) -> AlignedFace:
    """As `read_faces`, for one face."""
    return _only(read_faces(components, image, align, face)[1])


def read_target(components: Components, image: ImageInput, align: Align, face: int | None) -> Target:
    """As `read_targets`, for one face."""
    return _only(read_targets(components, image, align, face)[1])


def _only(faces: Mapping[int, _T]) -> _T:
    if len(faces) != 1:
        raise InputError(f"faces {list(faces)} were chosen; choose one here")
    return next(iter(faces.values()))


def name_photographs(images: Mapping[str, ImageInput | Sequence[ImageInput]]) -> dict[str, ImageInput]:
    """Photographs by the name of their pivot: `"ada"`, or `"ada/1"`, `"ada/2"` where there are several of one person.

    Raises:
        InputError: There is no identity, two have the same name, or a name can't be printed or ends in a number.
    """
    if not all(isinstance(name, str) and name.strip() and name.isprintable() for name in images):
        raise InputError(f"identities named {list(images)}; expected texts that can be printed")
    if numbered := [name for name in images if re.fullmatch(r".*/[1-9]\d*", name)]:
        raise InputError(f"identities named {numbered}; such names are given to one person's several photographs")
    if not images:
        raise InputError("no identity was given; give at least one photograph by name")
    labelled: list[tuple[str, ImageInput]] = []
    for name, photographs in images.items():
        if not isinstance(photographs, (list, tuple)):
            labelled.append((name, cast("ImageInput", photographs)))
        elif not photographs:
            raise InputError(f"no photograph of {name!r} was given; give at least one")
        else:
            labelled += [(f"{name}/{i}", photograph) for i, photograph in enumerate(photographs, 1)]
    alike = Counter(unicodedata.normalize("NFKC", name).strip().casefold() for name, _ in labelled)
    if twice := [name for name, count in alike.items() if count > 1]:
        raise InputError(f"identities named {list(images)}: {', '.join(twice)} twice or more; give each its own name")
    return dict(labelled)


def check_seed(seed: Any) -> None:
    """Make sure that a seed is one.

    Raises:
        InputError: It is no whole number from 0 to 2**63 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise InputError(f"seed={seed!r}; expected a whole number from 0 to 2**63 - 1")
