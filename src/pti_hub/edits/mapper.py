"""Edits that a network computes from the latent: StyleCLIP's mappers (Patashnik et al. 2021, section 5)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pti_hub.edits.direction import check_amount
from pti_hub.errors import InputError
from pti_hub.generators.layers import LEAKY_SLOPE, EqualLinear
from pti_hub.storage import Network

LEVELS = {"coarse": slice(0, 4), "medium": slice(4, 8), "fine": slice(8, None), "all": slice(None)}
"""The layers that each level of a mapper reads and moves."""

STEP = 0.1
"""Share of a mapper's offsets that strength 1 adds."""


class LatentMapper(Network, tags=["stylegan", "image-editing", "styleclip"]):
    """StyleCLIP's mapper M_t: one multi-layer perceptron per level, from the ws of the level's layers to their offsets.

    Args:
        levels: Levels to move, from `LEVELS`; the other layers stay.
        w_dim: Width of w.
        depth: Number of layers of each perceptron.
        provenance: Where the mapper comes from, in words.

    Attributes:
        space: `"W+"`, since each layer is moved by what its own w says.

    Raises:
        InputError: A level is unknown, or a number is out of range.
    """

    space = "W+"

    def __init__(
        self,
        levels: Sequence[str] = ("coarse", "medium", "fine"),
        w_dim: int = 512,
        depth: int = 4,
        provenance: str = "",
    ) -> None:
        super().__init__()
        self.provenance = str(provenance)
        if not levels or not set(levels) <= LEVELS.keys() or w_dim not in range(1, 2049) or depth not in range(1, 33):
            raise InputError(
                f"levels={list(levels)!r}, w_dim={w_dim!r}, depth={depth!r}; expected some of {', '.join(LEVELS)}, 1 "
                "to 2048 and 1 to 32"
            )
        self.levels = nn.ModuleDict(
            {level: nn.ModuleList(EqualLinear(w_dim, w_dim, 0.01) for _ in range(depth)) for level in levels}
        )

    def forward(self, ws: Tensor) -> Tensor:
        """Offsets `[B, num_ws, w_dim]` for ws `[B, num_ws, w_dim]`; a step of strength 1 adds a tenth of them.

        Args:
            ws: Latents in W+.
        """
        offsets = torch.zeros_like(ws)
        for level, layers in self.levels.items():
            x = ws[:, LEVELS[level]]  # [B, layers of the level, w_dim]
            # As in the authors' code, the mean is over the layers, not over the entries of w.
            x = x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()
            assert isinstance(layers, nn.ModuleList)
            for layer in layers:
                x = F.leaky_relu(layer(x), LEAKY_SLOPE) * math.sqrt(2)
            offsets[:, LEVELS[level]] = x
        return offsets


@dataclass(frozen=True, eq=False)
class MapperEdit:
    """A mapper and the strength of the edit.

    Args:
        mapper: The mapper.
        strength: Number of steps a; negative strengths go the opposite way.

    Raises:
        InputError: The strength is not a finite number.
    """

    mapper: LatentMapper
    strength: float = 1.0

    def __post_init__(self) -> None:
        check_amount("strength", self.strength, type(self.mapper).__name__)

    @torch.no_grad()
    def apply(self, ws: Tensor) -> Tensor:
        """The edited latent w + 0.1 a·M_t(w).

        Args:
            ws: `[B, num_ws, w_dim]`.

        Returns:
            A new tensor like `ws`.

        Raises:
            InputError: The mapper belongs to another generator.
        """
        first = next(self.mapper.parameters())
        if ws.ndim != 3 or ws.shape[-1] != first.shape[-1]:
            raise InputError(
                f"a mapper of w_dim={first.shape[-1]} was given ws {list(ws.shape)}; give a W+ code that fits"
            )
        return ws + STEP * float(self.strength) * self.mapper.to(ws.device)(ws.to(first.dtype)).to(ws)
