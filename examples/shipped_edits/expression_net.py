"""The expression network of `@vladmandic/face-api` in PyTorch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")


class SeparableConv(nn.Module):
    """Depthwise 3x3 convolution, then pointwise 1x1 convolution, with TensorFlow's "same" padding.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: 1, or 2 to halve height and width.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, stride, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] → [B, out_channels, H/stride, W/stride]."""
        result: Tensor = self.pointwise(self.depthwise(pad_same(x, self.depthwise.stride[0])))
        return result


def pad_same(x: Tensor, stride: int) -> Tensor:
    # For a 3x3 kernel with stride 2 on an even size, TensorFlow pads one row and one column, at the far side.
    near = 1 if stride == 1 else 0
    return F.pad(x, (near, 1, near, 1))


class DenseBlock(nn.Module):
    """Halves height and width, then applies three convolutions, each to the sum of all previous outputs."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv0 = (
            nn.Conv2d(3, out_channels, 3, 2)  # the first block, on RGB, isn't separable
            if in_channels == 3
            else SeparableConv(in_channels, out_channels, 2)
        )
        self.conv1 = SeparableConv(out_channels, out_channels)
        self.conv2 = SeparableConv(out_channels, out_channels)
        self.conv3 = SeparableConv(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] → [B, out_channels, H/2, W/2]."""
        if isinstance(self.conv0, nn.Conv2d):
            x = pad_same(x, 2)
        total = F.relu(self.conv0(x))
        for conv in (self.conv1, self.conv2, self.conv3):
            total = total + conv(F.relu(total))
        return F.relu(total)


class ExpressionNet(nn.Module):
    """Classifies seven facial expressions, in the order of `EXPRESSIONS`."""

    def __init__(self) -> None:
        super().__init__()
        self.dense0 = DenseBlock(3, 32)
        self.dense1 = DenseBlock(32, 64)
        self.dense2 = DenseBlock(64, 128)
        self.dense3 = DenseBlock(128, 256)
        self.fc = nn.Linear(256, len(EXPRESSIONS))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised faces [B, 3, 112, 112] → logits [B, 7]."""
        for block in (self.dense0, self.dense1, self.dense2, self.dense3):
            x = block(x)
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits
