"""What a user gives: photographs, identities, names and seeds."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from PIL import Image
from torch import Tensor

from pti_hub.errors import ImageError, InputError
from pti_hub.faces import Align, AlignedFace, Placement, aligned_face
from pti_hub.images import ImageInput, load_image, to_tensor
from pti_hub.personalization import Personalization
from pti_hub.pipelines.components import Components
from pti_hub.storage import picture_digest, tensor_digest

ImageOrIdentity: TypeAlias = "ImageInput | Personalization"


@dataclass(frozen=True)
class Target:
    """What is learned from a photograph.

    Attributes:
        x: The aligned photograph `[1, 3, R, R]` on the pipeline's device.
        placement: Where in the photograph x lies.
    """

    x: Tensor
    placement: Placement

    @property
    def digest(self) -> str:
        """SHA-256 of x and its placement, by which a run folder knows the photograph again."""
        placement = json.dumps(self.placement.to_json(), sort_keys=True)
        return hashlib.sha256(f"{tensor_digest(self.x)} {placement}".encode()).hexdigest()


@dataclass(frozen=True)
class Photograph:
    """A photograph that is still to be learned.

    Attributes:
        picture: The whole photograph, mode RGB.
        target: What is learned from it.
    """

    picture: Image.Image
    target: Target


@dataclass(frozen=True)
class Identities:
    """Identities that were tuned before.

    Attributes:
        personalization: What was learned.
        names: Which of its pivots are asked for; at least one.
        picture: The photograph to put their edits into, if there is one.
    """

    personalization: Personalization
    names: list[str]
    picture: Image.Image | None = None


def read_person(
    components: Components, item: ImageOrIdentity, photograph: ImageInput | None, align: Align, face: int | None
) -> Identities | Photograph:
    """What an item of a call stands for: known identities, with their photograph if it is given, or a photograph.

    Args:
        components: The pipeline.
        item: A personalisation, the name of a loaded identity, or a photograph.
        photograph: For identities, the photograph that they were tuned on.
        align: See `load_photograph`.
        face: See `load_photograph`.

    Raises:
        InputError: A photograph is given for an item that is one itself; see also `find_identities`,
            `find_photograph` and `load_photograph`.
    """
    if (identities := find_identities(components, item)) is None:
        if photograph is not None:
            raise InputError("photograph= is for identities that were tuned before; a photograph brings itself")
        return load_photograph(components, cast("ImageInput", item), align, face)
    return identities if photograph is None else find_photograph(identities, photograph)


def find_identities(components: Components, item: ImageOrIdentity) -> Identities | None:
    """The identities that an item stands for; `None` for a photograph.

    Args:
        components: The pipeline.
        item: A personalisation, the name of a loaded identity, or a photograph.

    Raises:
        InputError: The personalisation belongs to another generator.
    """
    loaded = components.personalization
    if isinstance(item, Personalization):
        personalization, names = item, list(item.pivots)
    elif isinstance(item, str) and loaded is not None and (names := loaded.photographs(item)):
        personalization = loaded
    else:
        return None
    personalization.check(components.generator, components.base)
    return Identities(personalization, names)


def require_identities(components: Components, identity: Personalization | str) -> Identities:
    """As `find_identities`, for what can't be a photograph.

    Raises:
        InputError: No such identity is loaded, or the personalisation belongs to another generator.
    """
    if (identities := find_identities(components, identity)) is None:
        raise InputError(f"no identity {identity!r} is loaded; there are: {_loaded(components)}")
    return identities


def find_photograph(identities: Identities, photograph: ImageInput) -> Identities:
    """The identities that were tuned on a photograph, with the photograph.

    Args:
        identities: The identities.
        photograph: The photograph.

    Raises:
        ImageError: The photograph can't be read.
        InputError: None of the identities was tuned on it.
    """
    picture = load_image(photograph)
    digest = picture_digest(picture)
    known = {name: p for name, p in identities.personalization.placements.items() if name in identities.names}
    names = [name for name, p in known.items() if (p.size, p.digest) == (picture.size, digest)]
    if not known:
        who = ", ".join(map(repr, identities.names))
        raise InputError(f"{who} remembers no photograph; personalise it again, or leave photograph= out")
    if not names:
        expected = "; ".join(f"{name!r} was tuned on, of {p.size[0]}×{p.size[1]} px" for name, p in known.items())
        raise InputError(
            f"this picture of {picture.width}×{picture.height} px is not the one that {expected}; give that file, "
            "unchanged"
        )
    return Identities(identities.personalization, names, picture)


def align_photograph(
    components: Components, image: ImageInput, align: Align, face: int | None
) -> tuple[Image.Image, AlignedFace]:
    """Read a photograph and bring its face to FFHQ's alignment, if the generator paints faces.

    Args:
        components: The pipeline.
        image: The photograph.
        align: `True` aligns, `False` does not, `"auto"` aligns the face of a photograph that is not aligned yet.
        face: Which face, from left to right, where there are several.

    Returns:
        The whole photograph, mode RGB, and the face.

    Raises:
        ImageError: The photograph can't be read, or is a text that names neither a file nor a loaded identity.
        FaceError: It holds no or several faces.
        InputError: No such way to align.
    """
    if not (isinstance(align, bool) or (isinstance(align, str) and align == "auto")):
        raise InputError(f"align={align!r}; expected True, False or 'auto'")
    try:
        picture = load_image(image)
    except ImageError as error:
        if isinstance(image, str) and str(error).startswith("no such file"):
            raise ImageError(
                f"{image!r} is neither a file nor a loaded identity; loaded are: {_loaded(components)}"
            ) from error
        raise
    if align is False or (align == "auto" and not components.aligns_faces):
        return picture, AlignedFace.whole(picture)
    return picture, aligned_face(picture, components.generator.resolution, align, face)


def load_photograph(components: Components, image: ImageInput, align: Align, face: int | None) -> Photograph:
    """Read a photograph and find what is to be learned from it; arguments and errors as of `align_photograph`."""
    picture, aligned = align_photograph(components, image, align, face)
    x = to_tensor(aligned.picture, components.generator.resolution).to(components.device)
    quad = tuple((float(x), float(y)) for x, y in aligned.quad)
    return Photograph(picture, Target(x, Placement(quad, picture.size, picture_digest(picture))))


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


def _loaded(components: Components) -> str:
    return ", ".join(components.identities) or "none"
