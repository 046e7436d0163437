"""Edits by a network that looks at the latent first: StyleCLIP's mappers (Patashnik et al. 2021, section 5)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from pti_hub.edits.direction import check_amount
from pti_hub.errors import InputError
from pti_hub.generators.layers import LEAKY_SLOPE, EqualLinear

LEVELS = {"coarse": slice(0, 4), "medium": slice(4, 8), "fine": slice(8, None), "all": slice(None)}
"""The layers that a part of a mapper looks at and moves."""

_STEP = 0.1


class LatentMapper(
    nn.Module, PyTorchModelHubMixin, library_name="pti-hub", tags=["stylegan", "image-editing", "styleclip"]
):
    """M_t: a multi-layer perceptron a group of layers, from their ws to the way these are to go.

    Args:
        levels: The groups it moves, of `LEVELS`; the others stay.
        w_dim: Width of w.
        depth: Layers of each perceptron.

    Raises:
        InputError: No such level, or a number out of range.
    """

    def __init__(self, levels: Sequence[str] = ("coarse", "medium", "fine"), w_dim: int = 512, depth: int = 4) -> None:
        super().__init__()
        if not levels or not set(levels) <= LEVELS.keys() or w_dim not in range(1, 2049) or depth not in range(1, 33):
            raise InputError(
                f"levels={list(levels)!r}, w_dim={w_dim!r}, depth={depth!r}; expected some of {', '.join(LEVELS)}, 1 "
                "to 2048 and 1 to 32"
            )
        self.levels = nn.ModuleDict(
            {level: nn.ModuleList(EqualLinear(w_dim, w_dim, 0.01) for _ in range(depth)) for level in levels}
        )

    def forward(self, ws: Tensor) -> Tensor:
        """The way to go `[B, num_ws, w_dim]` from ws, likewise; the step of strength 1 is a tenth of it."""
        moved = torch.zeros_like(ws)
        for level, layers in self.levels.items():
            x = ws[:, LEVELS[level]]
            # Normalised over the layers, as its authors do.
            x = x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()
            assert isinstance(layers, nn.ModuleList)
            for layer in layers:
                x = F.leaky_relu(layer(x), LEAKY_SLOPE) * math.sqrt(2)
            moved[:, LEVELS[level]] = x
        return moved


@dataclass(frozen=True, eq=False)
class MapperEdit:
    """A mapper and how far to go its way.

    Args:
        mapper: The mapper.
        strength: In steps.

    Raises:
        InputError: The strength is no finite number.
    """

    mapper: LatentMapper
    strength: float = 1.0

    def __post_init__(self) -> None:
        check_amount("strength", self.strength, type(self.mapper).__name__)

    @torch.no_grad()
    def apply(self, ws: Tensor) -> Tensor:
        """w + 0.1 a·M_t(w), of and like ws `[B, num_ws, w_dim]`.

        Raises:
            InputError: The mapper is of another generator.
        """
        first = next(self.mapper.parameters())
        if ws.ndim != 3 or ws.shape[-1] != first.shape[-1]:
            raise InputError(
                f"a mapper of w_dim={first.shape[-1]} was given ws {list(ws.shape)}; give that generator's W+"
            )
        return ws + _STEP * float(self.strength) * self.mapper.to(ws.device)(ws.to(first.dtype)).to(ws)
