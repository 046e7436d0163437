"""SeFa: directions computed from the generator's weights, without samples (Shen and Zhou 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from pti_hub.edits.direction import Direction
from pti_hub.errors import InputError
from pti_hub.generators import Generator


@torch.no_grad()
def sefa(generator: Generator, count: int = 5, first: int = 0, last: int | None = None) -> list[Direction]:
    """The directions that change the styles of some layers most: eigenvectors of AᵀA.

    A stacks the modulation weights of the layers, with each row scaled to unit length. A step is one standard deviation
    of W along an average direction, so that steps along different directions are comparable.

    Args:
        generator: The generator whose modulation weights are read.
        count: Number of directions.
        first: First layer; layer 0 is the coarsest.
        last: Last layer; the finest by default.

    Returns:
        Directions in W+ that move only these layers, in order of decreasing eigenvalue: `"sefa0_layers0-15"` and so on.

    Raises:
        InputError: The layers are out of range, or `count` is not between 1 and `w_dim`.
    """
    last = generator.num_ws - 1 if last is None else last
    if not 0 <= first <= last < generator.num_ws:
        raise InputError(f"layers {first} to {last}; expected 0 <= first <= last < {generator.num_ws}")
    if not 1 <= count <= generator.w_dim:
        raise InputError(f"count={count}; expected 1 to w_dim={generator.w_dim}")
    rows = [layer.weight.double().cpu() for layer in generator.style_layers() if first <= layer.w <= last]
    a = F.normalize(torch.cat(rows), dim=1)  # [channels, w_dim]
    vectors = torch.linalg.eigh(a.T @ a).eigenvectors.T.flip(0)[:count]
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    step = generator.w_std.item() / generator.w_dim**0.5
    return [
        Direction(
            f"sefa{i}_layers{first}-{last}",
            Direction("sefa", (vector * step).float()).layers(first, last, generator.num_ws).vector,
            f"SeFa, eigenvector {i} of layers {first} to {last}",
        )
        for i, vector in enumerate(vectors * largest.sign())
    ]
