"""Layers that generators share: equalised linear layers, the mapping network, the inverse Haar transform."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAKY_SLOPE = 0.2


class EqualLinear(nn.Module):
    """Linear layer with equalised learning rate (Karras et al. 2018, section 4.1).

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        lr_multiplier: Scale of weights and bias at run time, hence of their learning rate.
    """

    def __init__(self, in_features: int, out_features: int, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., in_features]` to `[..., out_features]`."""
        return F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)


class MappingNetwork(nn.Module):
    """StyleGAN2's f: Z → W, a multi-layer perceptron over normalised z (Karras et al. 2020).

    Args:
        z_dim: Width of z.
        w_dim: Width of w and of the hidden layers.
        num_layers: Number of layers.
        lr_multiplier: Learning-rate multiplier of every layer.
    """

    def __init__(self, z_dim: int = 512, w_dim: int = 512, num_layers: int = 8, lr_multiplier: float = 0.01) -> None:
        super().__init__()
        widths = [z_dim] + [w_dim] * num_layers
        self.layers = nn.ModuleList(EqualLinear(i, o, lr_multiplier) for i, o in pairwise(widths))

    def forward(self, z: Tensor) -> Tensor:
        """Map z `[B, z_dim]`, standard normal, to w `[B, w_dim]`."""
        x = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            x = F.leaky_relu(layer(x), LEAKY_SLOPE) * math.sqrt(2)
        return x


def inverse_haar_reference(x: Tensor) -> Tensor:
    """The slow form of `inverse_haar`: a transposed convolution with the four Haar wavelets."""
    channels = x.shape[1] // 4
    wavelets = x.new_tensor([[[1, 1], [1, 1]], [[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]]])
    kernel = (wavelets / 2)[:, None].repeat_interleave(channels, 0)
    bands = F.conv_transpose2d(x, kernel, stride=2, groups=4 * channels)
    return bands.unflatten(1, (4, channels)).sum(1)


class _InverseHaar(torch.autograd.Function):
    # The transform is orthonormal, so its gradient is the forward transform: nothing has to be saved, and both
    # ways are eight quarter-size additions written straight into one output.

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        out = x.new_empty(batch, 2 * height, 2 * width, channels // 4)
        low, vertical, horizontal, diagonal = x.permute(0, 2, 3, 1).chunk(4, dim=3)
        top, bottom = (low + vertical).mul_(0.5), (low - vertical).mul_(0.5)
        right_top, right_bottom = (horizontal + diagonal).mul_(0.5), (horizontal - diagonal).mul_(0.5)
        torch.add(top, right_top, out=out[:, 0::2, 0::2])
        torch.sub(top, right_top, out=out[:, 0::2, 1::2])
        torch.add(bottom, right_bottom, out=out[:, 1::2, 0::2])
        torch.sub(bottom, right_bottom, out=out[:, 1::2, 1::2])
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        batch, channels, height, width = grad.shape
        rows = grad.permute(0, 2, 3, 1)
        out = grad.new_empty(batch, height // 2, width // 2, 4 * channels)
        low, vertical, horizontal, diagonal = out.chunk(4, dim=3)
        a, b = rows[:, 0::2, 0::2], rows[:, 0::2, 1::2]
        c, d = rows[:, 1::2, 0::2], rows[:, 1::2, 1::2]
        top, bottom = (a + b).mul_(0.5), (c + d).mul_(0.5)
        right_top, right_bottom = (a - b).mul_(0.5), (c - d).mul_(0.5)
        torch.add(top, bottom, out=low)
        torch.sub(top, bottom, out=vertical)
        torch.add(right_top, right_bottom, out=horizontal)
        torch.sub(right_top, right_bottom, out=diagonal)
        return out.permute(0, 3, 1, 2)


def inverse_haar(x: Tensor) -> Tensor:
    """One level of the inverse 2-D Haar wavelet transform (orthonormal).

    Args:
        x: `[B, 4C, H, W]`: C low-pass channels, then C vertical, C horizontal and C diagonal details.

    Returns:
        `[B, C, 2H, 2W]`, channels last in memory.
    """
    return _InverseHaar.apply(x)
