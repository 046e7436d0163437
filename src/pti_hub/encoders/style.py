"""Encoders from photographs to W+: e4e (Tov et al. 2021), pSp (Richardson et al. 2021), and their W variant."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from pti_hub.encoders.ir_se import ResidualBody
from pti_hub.errors import InputError
from pti_hub.generators.layers import EqualLinear

Kind = Literal["e4e", "psp", "w"]

# Layers from which on the finer feature maps are looked at.
_MIDDLE, _FINE = 3, 7


class MapToStyle(nn.Module):
    """A feature map, halved until one pixel is left, to one latent."""

    def __init__(self, channels: int, halvings: int) -> None:
        super().__init__()
        # The published files number the activations as well.
        layers: list[nn.Module] = []
        for _ in range(halvings):
            layers += [nn.Conv2d(channels, channels, 3, 2, 1), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, channels, 2^halvings, 2^halvings]` to `[B, channels]`."""
        w: Tensor = self.linear(self.convs(x).flatten(1))
        return w


class StyleEncoder(
    ResidualBody, PyTorchModelHubMixin, library_name="pti-hub", tags=["stylegan", "gan-inversion", "encoder"]
):
    """A feature pyramid over IR-SE50, and a small head for each layer's w; fulfils the `Encoder` protocol.

    Args:
        num_ws: Number of layers of the generator.
        kind: `"e4e"`: the first head gives one w, the others a layer's offset from it; `"psp"`: each head gives its
            layer's w; `"w"`: one w, of the last feature map's mean.
        resolution: Height and width of the pictures it takes, in pixels.

    Raises:
        InputError: No such kind, or a number out of range.
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
        """ws `[B, num_ws, 512]` of pictures `[B, 3, resolution, resolution]` in [-1, 1]."""
        _, fine, middle, coarse = self.features(images)
        if self.kind == "w":
            w = self.linear(coarse.mean((2, 3)))
            return w[:, None] + self.latent_avg
        middle = _enlarged_plus(coarse, self.latlayer1(middle))
        fine = _enlarged_plus(middle, self.latlayer2(fine))
        ws = torch.stack(
            [style((coarse, middle, fine)[(i >= _MIDDLE) + (i >= _FINE)]) for i, style in enumerate(self.styles)], 1
        )
        if self.kind == "e4e":
            ws = torch.cat([ws[:, :1], ws[:, :1] + ws[:, 1:]], 1)
        return ws + self.latent_avg


def _enlarged_plus(coarse: Tensor, fine: Tensor) -> Tensor:
    return F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=True) + fine
