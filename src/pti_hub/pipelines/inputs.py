"""What a user gives: photographs, identities, names and seeds."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from PIL import Image
from torch import Tensor

from pti_hub.errors import ImageError, InputError
from pti_hub.faces import Align, aligned_face
from pti_hub.images import ImageInput, load_image, to_tensor
from pti_hub.personalization import Personalization
from pti_hub.pipelines.components import Components

ImageOrIdentity: TypeAlias = "ImageInput | Personalization"


@dataclass(frozen=True)
class Identities:
    """Identities that were tuned before.

    Attributes:
        personalization: What was learned.
        names: Which of its pivots are asked for; at least one.
    """

    personalization: Personalization
    names: list[str]


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
    if (found := find_identities(components, identity)) is None:
        raise InputError(f"no identity {identity!r} is loaded; there are: {_loaded(components)}")
    return found


def load_picture(components: Components, image: ImageInput, align: Align, face: int | None) -> Image.Image:
    """A photograph as the generator knows pictures: of faces, in FFHQ's alignment.

    Args:
        components: The pipeline.
        image: The photograph.
        align: `True` aligns, `False` does not, `"auto"` aligns the face of a photograph that is not aligned yet.
        face: Which face, from left to right, where there are several.

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
        return picture
    return aligned_face(picture, components.generator.resolution, align, face)


def load_target(components: Components, image: ImageInput, align: Align, face: int | None) -> Tensor:
    """Photograph → x `[1, 3, R, R]` on the pipeline's device; see `load_picture`."""
    picture = load_picture(components, image, align, face)
    return to_tensor(picture, components.generator.resolution).to(components.device)


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
