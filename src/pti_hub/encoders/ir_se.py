"""The residual network with squeeze and excitation that e4e, pSp and ArcFace share (Deng et al. 2019, Hu et al. 2018).

Parameters have the same names as in the published files.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Channels and number of units of the four stages; the first unit of a stage halves height and width.
_STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))


class SqueezeExcitation(nn.Module):
    """Scales each channel by a factor that is computed from all channels' means over pixels."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C, H, W]`."""
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class Unit(nn.Module):
    """Residual unit: two 3×3 convolutions with squeeze and excitation, plus a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.shortcut_layer = None
        if in_channels != out_channels:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False),
            nn.PReLU(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            SqueezeExcitation(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, in, H, W]` to `[B, out, H / stride, W / stride]`."""
        shortcut = x[:, :, :: self.stride, :: self.stride] if self.shortcut_layer is None else self.shortcut_layer(x)
        y: Tensor = self.res_layer(x) + shortcut
        return y


class ResidualBody(nn.Module):
    """IR-SE50 without its head."""

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        widths = [width for width, units in _STAGES for _ in range(units)]
        strides = [2 if i == 0 else 1 for _, units in _STAGES for i in range(units)]
        self.body = nn.Sequential(*map(Unit, [64, *widths], widths, strides))

    def features(self, images: Tensor) -> list[Tensor]:
        """The outputs of the four stages.

        Args:
            images: `[B, 3, H, W]` in [-1, 1].

        Returns:
            Features of 64, 128, 256 and 512 channels at 1/2, 1/4, 1/8 and 1/16 of the pictures' size.
        """
        x, outputs, start = self.input_layer(images), [], 0
        for _, units in _STAGES:
            x = self.body[start : start + units](x)
            start += units
            outputs.append(x)
        return outputs
