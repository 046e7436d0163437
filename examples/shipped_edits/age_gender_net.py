"""The age-and-gender network of `@vladmandic/face-api` in PyTorch."""

from __future__ import annotations

import torch.nn.functional as F
from expression_net import SeparableConv, pad_same
from torch import Tensor, nn


class ReductionBlock(nn.Module):
    """Xception's reduction block: two separable convolutions and max pooling, plus a 1x1 convolution of the input."""

    def __init__(self, in_channels: int, out_channels: int, relu_first: bool = True) -> None:
        super().__init__()
        self.relu_first = relu_first  # False if the input comes from a ReLU
        self.separable_conv0 = SeparableConv(in_channels, out_channels)
        self.separable_conv1 = SeparableConv(out_channels, out_channels)
        self.expansion_conv = nn.Conv2d(in_channels, out_channels, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] → [B, out_channels, H/2, W/2]."""
        out = self.separable_conv0(F.relu(x) if self.relu_first else x)
        out = self.separable_conv1(F.relu(out))
        # With ceil_mode the last window overlaps the far edge, like TensorFlow's "same" padding for an even size.
        pooled: Tensor = F.max_pool2d(out, 3, 2, ceil_mode=True)
        result: Tensor = pooled + self.expansion_conv(x)
        return result


class MainBlock(nn.Module):
    """Xception's residual block: three separable convolutions, each after a ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.separable_conv0 = SeparableConv(channels, channels)
        self.separable_conv1 = SeparableConv(channels, channels)
        self.separable_conv2 = SeparableConv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] → the same shape."""
        out = x
        for conv in (self.separable_conv0, self.separable_conv1, self.separable_conv2):
            out = conv(F.relu(out))
        return out + x


class AgeGenderNet(nn.Module):
    """A small Xception with two heads: age by regression, gender by two logits (male, female)."""

    def __init__(self) -> None:
        super().__init__()
        self.entry_flow = nn.ModuleDict(
            {
                "conv_in": nn.Conv2d(3, 32, 3, 2),
                "reduction_block_0": ReductionBlock(32, 64, relu_first=False),
                "reduction_block_1": ReductionBlock(64, 128),
            }
        )
        self.middle_flow = nn.ModuleDict({"main_block_0": MainBlock(128), "main_block_1": MainBlock(128)})
        self.exit_flow = nn.ModuleDict(
            {"reduction_block": ReductionBlock(128, 256), "separable_conv": SeparableConv(256, 512)}
        )
        self.fc = nn.ModuleDict({"age": nn.Linear(512, 1), "gender": nn.Linear(512, 2)})

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised faces [B, 3, 112, 112] → ages in years [B] and gender logits [B, 2]."""
        x = F.relu(self.entry_flow["conv_in"](pad_same(x, 2)))
        x = self.entry_flow["reduction_block_1"](self.entry_flow["reduction_block_0"](x))
        x = self.middle_flow["main_block_1"](self.middle_flow["main_block_0"](x))
        x = self.exit_flow["separable_conv"](self.exit_flow["reduction_block"](x))
        features = F.relu(x).mean(dim=(2, 3))
        return self.fc["age"](features).squeeze(1), self.fc["gender"](features)
