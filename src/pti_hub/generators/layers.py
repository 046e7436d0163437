"""Building blocks that the generators share: linear layers, the mapping network, the inverse Haar transform."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pti_hub.errors import InputError

LEAKY_SLOPE = 0.2


class EqualLinear(nn.Module):
    """Linear layer with an equalised learning rate (Karras et al. 2018, section 4.1).

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        lr_multiplier: Factor on weights and bias at run time, which scales their effective learning rate.
        bias: Initial value of the bias.
    """

    def __init__(self, in_features: int, out_features: int, lr_multiplier: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.normal_(self.weight, std=1 / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., in_features]` to `[..., out_features]`."""
        return F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)


class MappingNetwork(nn.Module):
    """StyleGAN2's f: Z → W, a multi-layer perceptron over normalised z (Karras et al. 2020).

    Args:
        z_dim: Width of z.
        w_dim: Width of w.
        num_layers: Number of layers.
        lr_multiplier: Learning-rate multiplier of every layer.
        c_dim: Number of classes; 0 for an unconditional network.
        hidden_dim: Width of the hidden layers; `w_dim` by default.
        embed_dim: Width of the class embedding; `w_dim` by default.

    Raises:
        InputError: A size is out of range; the limits keep a tampered file from exhausting memory.
    """

    def __init__(
        self,
        z_dim: int = 512,
        w_dim: int = 512,
        num_layers: int = 8,
        lr_multiplier: float = 0.01,
        c_dim: int = 0,
        hidden_dim: int | None = None,
        embed_dim: int | None = None,
    ) -> None:
        super().__init__()
        sizes = {"z_dim": z_dim, "w_dim": w_dim, "mapping_layers": num_layers}
        sizes |= {"mapping_hidden_dim": hidden_dim or w_dim, "mapping_embed_dim": embed_dim or w_dim}
        in_range = all(size in range(1, 2049) for size in sizes.values()) and num_layers <= 32
        if not in_range or c_dim not in range(32769):
            listed = ", ".join(f"{name}={size}" for name, size in sizes.items())
            raise InputError(f"{listed}, c_dim={c_dim}; expected 1 to 2048 each, layers to 32, classes to 32768")
        embed_dim = (embed_dim or w_dim) if c_dim else 0
        widths = [z_dim + embed_dim, *[hidden_dim or w_dim] * (num_layers - 1), w_dim]
        self.z_dim, self.w_dim, self.c_dim = z_dim, w_dim, c_dim
        self.embed = EqualLinear(c_dim, embed_dim) if c_dim else None
        self.layers = nn.ModuleList(EqualLinear(i, o, lr_multiplier) for i, o in pairwise(widths))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Map z `[B, z_dim]`, standard normal, to w `[B, w_dim]`.

        A conditional network takes the classes as one-hot vectors c `[B, c_dim]`. Without c it derives them from z, so
        that every class is equally likely.
        """
        x = _normalized(z)
        if self.embed is not None:
            if c is None:
                quantile = torch.special.ndtr(z[:, 0].float())
                c = F.one_hot((quantile * self.c_dim).long().clamp_max(self.c_dim - 1), self.c_dim)
            x = torch.cat([x, _normalized(self.embed(c.to(x)))], 1)  # [B, z_dim + embed_dim]
        for layer in self.layers:
            x = F.leaky_relu(layer(x), LEAKY_SLOPE) * math.sqrt(2)
        return x


class StyledGenerator(nn.Module):
    """Base class of all generators: the mapping network, and the mean and standard deviation of W.

    Args:
        mapping_network: The mapping network f: Z → W.
    """

    w_avg: Tensor
    w_std: Tensor

    def __init__(self, mapping_network: MappingNetwork) -> None:
        super().__init__()
        self.z_dim, self.w_dim, self.c_dim = mapping_network.z_dim, mapping_network.w_dim, mapping_network.c_dim
        self.mapping_network = mapping_network
        self.register_buffer("w_avg", torch.zeros(self.w_dim))
        self.register_buffer("w_std", torch.ones(()))

    def mapping(self, z: Tensor, truncation: float = 1.0, c: Tensor | None = None) -> Tensor:
        """Map z to w.

        Args:
            z: `[B, z_dim]`, standard normal.
            truncation: ψ of Karras et al. 2019: 1 leaves w unchanged, 0 gives `w_avg`.
            c: Classes for a conditional network, one-hot `[B, c_dim]`; by default derived from z, so that every class
                is equally likely.

        Returns:
            w `[B, w_dim]`.

        Raises:
            InputError: z or c has another shape.
        """
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise InputError(f"z of shape {list(z.shape)}; expected [B, {self.z_dim}]")
        if c is not None and tuple(c.shape) != (len(z), self.c_dim):
            raise InputError(f"c of shape {list(c.shape)}; expected [{len(z)}, {self.c_dim}]")
        w: Tensor = self.mapping_network(z, c)
        return w if truncation == 1.0 else self.w_avg.lerp(w, truncation)

    def features(self, ws: Tensor, resolutions: Sequence[int]) -> list[Tensor]:
        """What the layers see on the way to the picture, with the fixed noise; see `Generator.features`."""
        found: dict[int, Tensor] = {}
        for x in self._activations(ws):
            found.setdefault(x.shape[2], x)
            if found.keys() >= set(resolutions):
                return [found[size] for size in resolutions]
        raise InputError(f"features of {list(resolutions)} pixels; this generator has some of {sorted(found)} pixels")

    def _activations(self, ws: Tensor) -> Iterator[Tensor]:
        """The activations of the layers `[B, C, S, S]`, from coarse to fine, one at least per resolution."""
        raise NotImplementedError


def _normalized(x: Tensor) -> Tensor:
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def check_clamp(clamp: float | None) -> None:
    """Make sure that a limit of activations is one.

    Raises:
        InputError: It is neither `None` nor a number above zero.
    """
    if clamp is not None and not (isinstance(clamp, (int, float)) and clamp > 0):
        raise InputError(f"conv_clamp={clamp!r}; expected a number above zero, or None")


def inverse_haar_reference(x: Tensor) -> Tensor:
    """The slow form of `inverse_haar`: a transposed convolution with the four Haar wavelets."""
    channels = x.shape[1] // 4
    wavelets = x.new_tensor([[[1, 1], [1, 1]], [[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]]])
    kernel = (wavelets / 2)[:, None].repeat_interleave(channels, 0)
    bands = F.conv_transpose2d(x, kernel, stride=2, groups=4 * channels)
    return bands.unflatten(1, (4, channels)).sum(1)  # [B, C, 2H, 2W]


class _InverseHaar(torch.autograd.Function):
    # The transform is orthonormal, so its gradient is the forward Haar transform, and no tensor has to be saved. Each
    # direction takes eight quarter-size additions, written straight into one output.

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        out = x.new_empty(batch, 2 * height, 2 * width, channels // 4)  # channels last in memory
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
        rows = grad.permute(0, 2, 3, 1)  # [B, 2H, 2W, C]
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
    # A graph that is exported has no gradients, and no writes into a part of a tensor.
    return _shuffled_haar(x) if torch.compiler.is_compiling() else _InverseHaar.apply(x)


def _shuffled_haar(x: Tensor) -> Tensor:
    low, vertical, horizontal, diagonal = x.chunk(4, dim=1)
    top, bottom = (low + vertical) * 0.5, (low - vertical) * 0.5
    right_top, right_bottom = (horizontal + diagonal) * 0.5, (horizontal - diagonal) * 0.5
    corners = (top + right_top, top - right_top, bottom + right_bottom, bottom - right_bottom)
    return F.pixel_shuffle(torch.stack(corners, dim=2).flatten(1, 2), 2)
