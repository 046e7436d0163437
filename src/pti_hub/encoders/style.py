"""Encoders from photographs to W+: e4e (Tov et al. 2021), pSp (Richardson et al. 2021), and their variant for W."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pti_hub.encoders.ir_se import ResidualBody
from pti_hub.errors import InputError
from pti_hub.generators.layers import EqualLinear
from pti_hub.storage import Network

Kind = Literal["e4e", "psp", "w"]

# The first layers whose heads read the middle and the fine feature map; earlier layers read the coarse one.
_MIDDLE, _FINE = 3, 7


class MapToStyle(nn.Module):
    """Maps a feature map to one latent, by halving height and width until one pixel is left."""

    def __init__(self, channels: int, halvings: int) -> None:
        super().__init__()
        # Activations are modules of their own, since the published files count them in the layer numbers.
        layers: list[nn.Module] = []
        for _ in range(halvings):
            layers += [nn.Conv2d(channels, channels, 3, 2, 1), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, channels, 2^halvings, 2^halvings]` to `[B, channels]`."""
        w: Tensor = self.linear(self.convs(x).flatten(1))
        return w


class StyleEncoder(ResidualBody, Network, tags=["stylegan", "gan-inversion", "encoder"]):
    """A feature pyramid over IR-SE50 with a small head for each layer's w; implements the `Encoder` protocol.

    Args:
        num_ws: Number of layers of the generator.
        kind: `"e4e"`: the first head gives one w, each other head its layer's offset from that w; `"psp"`: each head
            gives its layer's w; `"w"`: one w for all layers, from the mean of the last feature map.
        resolution: Height and width of the input pictures, in pixels.

    Raises:
        InputError: The kind is unknown, or a number is out of range.
    """

    latent_avg: Tensor

    def __init__(self, num_ws: int = 18, kind: Kind = "e4e", resolution: int = 256) -> None:
        super().__init__()
        if kind not in ("e4e", "psp", "w") or num_ws not in range(2, 65) or resolution not in (128, 256, 512):
            raise InputError(
                f"kind={kind!r}, num_ws={num_ws!r}, resolution={resolution!r}; expected 'e4e', 'psp' or 'w', 2 to 64, "
                "and 128, 256 or 512"
            )
        self.num_ws, self.kind, self.resolution = num_ws, kind, resolution
        self.register_buffer("latent_avg", torch.zeros(num_ws, 512))
        if kind == "w":
            self.linear = EqualLinear(512, 512)
            return
        halvings = (resolution // 16).bit_length() - 1
        self.styles = nn.ModuleList(MapToStyle(512, halvings + (i >= _MIDDLE) + (i >= _FINE)) for i in range(num_ws))
        self.latlayer1 = nn.Conv2d(256, 512, 1)
        self.latlayer2 = nn.Conv2d(128, 512, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map pictures `[B, 3, resolution, resolution]` in [-1, 1] to ws `[B, num_ws, 512]`.

        Args:
            images: The pictures.
        """
        _, fine, middle, coarse = self.features(images)
        if self.kind == "w":
            w = self.linear(coarse.mean((2, 3)))  # [B, 512]
            return w[:, None] + self.latent_avg
        middle = _upsample_and_add(coarse, self.latlayer1(middle))
        fine = _upsample_and_add(middle, self.latlayer2(fine))
        ws = torch.stack(
            [style((coarse, middle, fine)[(i >= _MIDDLE) + (i >= _FINE)]) for i, style in enumerate(self.styles)], 1
        )
        if self.kind == "e4e":
            ws = torch.cat([ws[:, :1], ws[:, :1] + ws[:, 1:]], 1)
        return ws + self.latent_avg


def _upsample_and_add(coarse: Tensor, fine: Tensor) -> Tensor:
    return F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=True) + fine
