"""A quick look at a generator's picture: read off an inner layer by one convolution, fitted to one person.

The inner layer is reached in a fraction of the time that the whole generator takes, but has no image layer of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pti_hub.generators import MobileStyleGAN
from pti_hub.generators.layers import inverse_haar

_SAMPLES = 2048
"""Places per picture that the fit looks at; twice as few are 0.3 grey levels farther from the picture."""

_RIDGE = 1e-4


class Draft(nn.Module):
    """A 3×3 convolution from activations at an eighth of the resolution to the picture at a quarter of it.

    It gives the four bands of the Haar transform, so that the picture has twice the resolution of the activations.

    Args:
        generator: The generator; its picture has at least 32² pixels.
        latents: What to fit to, `[1, num_ws, w_dim]` each: the pivot, and edits as far as they will be looked at.
    """

    def __init__(self, generator: MobileStyleGAN, latents: Sequence[Tensor]) -> None:
        super().__init__()
        self.inner, self.resolution = generator.resolution // 8, generator.resolution // 4
        channels = generator.features(latents[0], [self.inner])[0].shape[1]
        self.conv = nn.Conv2d(channels, 12, 3, padding=1)
        solution = _least_squares(self._rows(generator, ws, i) for i, ws in enumerate(latents))
        self.conv.weight.data = solution[:-1].T.reshape(self.conv.weight.shape).contiguous()
        assert self.conv.bias is not None
        self.conv.bias.data = solution[-1].clone()

    def forward(self, x: Tensor) -> Tensor:
        """Map activations `[1, C, S, S]` to a picture `[1, 3, 2S, 2S]`."""
        return inverse_haar(self.conv(x))

    @torch.no_grad()
    def _rows(self, generator: MobileStyleGAN, ws: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """At some places of one picture: the neighbourhood of each, and a 1 `[N, 9C + 1]`; its bands `[N, 12]`."""
        (x,) = generator.features(ws, [self.inner])
        picture = generator.synthesis(ws, resolution=self.resolution)
        random = torch.Generator().manual_seed(seed)
        rows = torch.randperm(self.inner**2, generator=random)[:_SAMPLES].to(x.device)
        top, left = rows // self.inner, rows % self.inner
        padded = F.pad(x[0], (1, 1, 1, 1))
        near = torch.stack([padded[:, top + i, left + j] for i in range(3) for j in range(3)], 1).flatten(0, 1)
        bands = _haar(picture).flatten(2)[0][:, rows]
        return torch.cat([near, torch.ones_like(near[:1])]).T, bands.T


def _least_squares(samples: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """The minimum of |X A − Y|² + r|A|², `[9C + 1, 12]`, by its normal equations: one picture is held at a time."""
    squares, products = torch.zeros(()), torch.zeros(())
    for x, y in samples:
        squares, products = squares + x.T @ x, products + x.T @ y
    squares, products = squares.double(), products.double()
    ridge = _RIDGE * squares.diagonal().mean() * torch.eye(len(squares), dtype=squares.dtype)
    return torch.linalg.solve(squares + ridge, products).float()


def _haar(y: Tensor) -> Tensor:
    """The Haar transform `[1, 12, S, S]` of a picture `[1, 3, 2S, 2S]`, the inverse of `inverse_haar`."""
    a, b, c, d = y[..., 0::2, 0::2], y[..., 0::2, 1::2], y[..., 1::2, 0::2], y[..., 1::2, 1::2]
    return torch.cat([a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d], 1) / 2
