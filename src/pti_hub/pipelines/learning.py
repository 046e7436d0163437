"""Directions from a user's own examples: photographs or latents, with and without a property."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from pti_hub.checkpoints.directions import load_direction
from pti_hub.edits import Direction
from pti_hub.edits.learning import FEWEST_EXAMPLES, direction_between
from pti_hub.encoders import encode
from pti_hub.errors import FaceError, ImageError, InputError
from pti_hub.generators import broadcast_ws
from pti_hub.images import PICTURE_SUFFIXES, find_pictures, to_tensor
from pti_hub.logging import get_logger
from pti_hub.pipelines.components import Components
from pti_hub.pipelines.inputs import read_face

LATENT_SUFFIXES = (".npy", ".pt")
"""Files with one latent each."""


def learn_from_examples(components: Components, name: str, without: str | Path, with_: str | Path) -> Direction:
    """Learn a direction from two folders; see `direction_between`.

    Photographs go through the encoder, aligned as in `PTIPipeline.__call__`. Those without exactly one face are left
    out, with a warning.

    Args:
        components: The pipeline.
        name: Name of the direction.
        without: Folder of pictures, or of latents in `.npy` or `.pt` files, without the property.
        with_: Folder of the same with it.

    Raises:
        InputError: A folder holds fewer than 3 usable examples, or there are photographs and no encoder.
        WeightsError: A latent's file is damaged.
    """
    groups = [_latents(components, Path(folder)) for folder in (without, with_)]
    if {group.ndim for group in groups} == {2, 3}:
        groups = [broadcast_ws(components.generator, group) for group in groups]
    return direction_between(name, groups[0], groups[1], f"folders {Path(without).name} and {Path(with_).name}")


def _latents(components: Components, folder: Path) -> Tensor:
    """Latents `[N, w_dim]` or `[N, num_ws, w_dim]` of a folder's examples, on the CPU."""
    generator = components.generator
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give a folder of photographs, or of latents")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in LATENT_SUFFIXES)
    pictures = find_pictures(folder)
    if files and pictures:
        raise InputError(f"{folder} holds both pictures and latents; give them in folders of their own")
    if files:
        vectors = [load_direction(path, generator.num_ws, generator.w_dim).vector for path in files]
        return _stacked(components, vectors)
    if not pictures:
        expected = ", ".join([*PICTURE_SUFFIXES, *LATENT_SUFFIXES])
        raise InputError(f"{folder} holds no example; expected files that end in {expected}")
    found = _encoded(components, pictures)
    if len(found) < FEWEST_EXAMPLES:
        raise InputError(
            f"{len(found)} of {len(pictures)} pictures in {folder} can be used; at least {FEWEST_EXAMPLES} are needed, "
            "better 20"
        )
    return torch.cat(found)


def _stacked(components: Components, vectors: Sequence[Tensor]) -> Tensor:
    """Latents of equal shape."""
    if len({vector.ndim for vector in vectors}) > 1:
        return torch.cat([broadcast_ws(components.generator, vector[None]) for vector in vectors])
    return torch.stack(list(vectors))


def _encoded(components: Components, pictures: Sequence[Path]) -> list[Tensor]:
    """Latents of the pictures that hold exactly one face."""
    if components.encoder is None:
        raise InputError(
            f"{components.name} has no encoder to put photographs through; give folders of latents (.npy, .pt), such "
            "as pipe.invert(photograph).pivot"
        )
    found = []
    for path in tqdm(pictures, desc="examples", **components.progress_bar_config):
        try:
            picture = read_face(components, path, "auto", None).picture
        except (FaceError, ImageError) as error:
            get_logger(__name__).warning(f"{path} is left out: {error}")
            continue
        target = to_tensor(picture, components.generator.resolution).to(components.device)
        found.append(encode(components.encoder, target).cpu())
    return found
