"""MobileStyleGAN (Belousov 2021): StyleGAN2 distilled into depthwise-separable convolutions and wavelets.

Demodulation is folded into the weights, and each resolution is reached by an inverse Haar transform instead of a
filtered up-sampling, so a picture costs a small fraction of StyleGAN2's arithmetic. Activations are channels-last: all
layers but the first are memory-bound, and this layout needs no reordering.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pti_hub.errors import InputError
from pti_hub.generators.layers import LEAKY_SLOPE, MappingNetwork, StyledGenerator, inverse_haar
from pti_hub.generators.protocol import NoiseMode, StyleLayer, broadcast_ws, chosen_noise, chosen_resolution
from pti_hub.storage import Network


class Modulation(nn.Linear):
    """The affine map A from w `[B, w_dim]` to one scale per channel `[B, channels]` (Karras et al. 2019, section 2).

    Args:
        w_dim: Width of w.
        channels: Number of scales.
        gain: Factor on every scale.
    """

    def __init__(self, w_dim: int, channels: int, gain: float = 1.0) -> None:
        super().__init__(w_dim, channels)
        nn.init.normal_(self.weight, std=1 / math.sqrt(w_dim))
        nn.init.ones_(self.bias)
        self.gain = gain

    def forward(self, w: Tensor) -> Tensor:
        return super().forward(w) * self.gain


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, and a leaky ReLU without gain.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        w_dim: Width of w.
        resolution: Height and width of input and output, in pixels.
        separable: Whether to use a depthwise 3×3 and a pointwise convolution instead of one dense 3×3 convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, resolution: int, separable: bool = True
    ) -> None:
        super().__init__()
        self.modulation = Modulation(w_dim, in_channels, gain=1 / math.sqrt(in_channels * 9))
        self.depthwise = nn.Parameter(torch.randn(in_channels, 1, 3, 3)) if separable else None
        kernel = 1 if separable else 3
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.noise_const: Tensor
        self.register_buffer("noise_const", torch.randn(1, 1, resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Map x `[B, in, H, W]` and w `[B, w_dim]` to `[B, out, H, W]`."""
        scale, weight = self.modulation(w), self.weight
        if len(scale) == 1:
            # For a single picture the scale is folded into the weights, which saves a pass over the activations.
            weight = weight * scale[0, :, None, None]
        else:
            x = x * scale[:, :, None, None].to(x.dtype)
        if self.depthwise is not None:
            x = F.conv2d(x, self.depthwise, padding=1, groups=x.shape[1])
        x = F.conv2d(x, weight, self.bias, padding=weight.shape[-1] // 2)
        # In place is safe: the gradient of a convolution needs the input, never the output.
        if noise is not None:
            x = x.add_((noise * self.noise_strength).to(x.dtype))
        return F.leaky_relu_(x, LEAKY_SLOPE)


class Block(nn.Module):
    """Doubles the resolution: modulation, inverse Haar transform, two separable convolutions."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: int) -> None:
        super().__init__()
        self.up = Modulation(w_dim, in_channels)
        self.conv1 = StyledConv(in_channels // 4, out_channels, w_dim, resolution)
        self.conv2 = StyledConv(out_channels, out_channels, w_dim, resolution)

    def forward(self, x: Tensor, ws: Sequence[Tensor], noise: Sequence[Tensor | None]) -> Tensor:
        """Map x `[B, in, H, W]` to `[B, out, 2H, 2W]`; `ws` and `noise` hold two entries each."""
        x = inverse_haar(x * self.up(ws[0])[:, :, None, None].to(x.dtype))
        return self.conv2(self.conv1(x, ws[0], noise[0]), ws[1], noise[1])


class MobileStyleGAN(StyledGenerator, Network, tags=["stylegan", "gan-inversion"]):
    """MobileStyleGAN's mapping and synthesis networks; implements the `Generator` protocol.

    Layers are numbered as in StyleGAN2: the first convolution takes w 0; block i takes w 2i+1 (for the inverse Haar
    transform and the first convolution) and w 2i+2 (for the second convolution); the image layer takes the last w.

    Args:
        z_dim: Width of z.
        w_dim: Width of w.
        channels: Channels at 4², 8², 16², … pixels; the picture is twice as large as the last of these sizes.
        mapping_layers: Depth of the mapping network.

    Raises:
        InputError: A size is out of range; the limits keep a tampered file from exhausting memory.
    """

    stops_early = False

    def __init__(
        self,
        z_dim: int = 512,
        w_dim: int = 512,
        channels: Sequence[int] = (512, 512, 512, 512, 512, 256, 128, 64),
        mapping_layers: int = 8,
    ) -> None:
        if not 2 <= len(channels) <= 10 or any(c not in range(4, 2049, 4) for c in channels):
            raise InputError(f"channels={list(channels)}; expected 2 to 10 multiples of 4, up to 2048")
        super().__init__(MappingNetwork(z_dim, w_dim, mapping_layers))
        self.num_ws = 2 * len(channels)
        self.resolution = 4 * 2 ** len(channels)
        self.input = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        self.conv = StyledConv(channels[0], channels[0], w_dim, 4, separable=False)
        self.blocks = nn.ModuleList(
            Block(channels[i], channels[i + 1], w_dim, 8 * 2**i) for i in range(len(channels) - 1)
        )
        self.to_image = nn.Conv2d(channels[-1], 12, 1)
        self.to_image_modulation = Modulation(w_dim, channels[-1], gain=1 / math.sqrt(channels[-1]))

    def noise_maps(self) -> list[Tensor]:
        """The fixed noise of each convolution, `[1, 1, H, W]`, standard normal, from coarse to fine."""
        return [conv.noise_const for conv in self._convs()]

    def style_layers(self) -> list[StyleLayer]:
        """The affine maps from w to styles in order of use: 1 + 3 per block + 1."""
        maps = [("conv.modulation", 0)]
        for i in range(len(self.blocks)):
            maps += [(f"blocks.{i}.{name}", 2 * i + 1) for name in ("up", "conv1.modulation")]
            maps.append((f"blocks.{i}.conv2.modulation", 2 * i + 2))
        maps.append(("to_image_modulation", self.num_ws - 1))
        return [StyleLayer(name, w, self.get_parameter(f"{name}.weight").detach()) for name, w in maps]

    def synthesis(
        self,
        ws: Tensor,
        noise_mode: NoiseMode = "const",
        noise: Sequence[Tensor] | None = None,
        resolution: int | None = None,
    ) -> Tensor:
        """G(w): the picture of a latent code.

        Args:
            ws: w `[B, w_dim]` for all layers, or a W+ code `[B, num_ws, w_dim]`.
            noise_mode: `"const"` for the fixed maps, `"random"` for new maps on each call, `"none"` for no noise.
            noise: Maps to use instead, one per convolution, with the shapes that `noise_maps` returns.
            resolution: Height and width of a smaller picture, which equals the full one box-filtered. At half the size
                and below, the last inverse Haar transform is skipped.

        Returns:
            `[B, 3, R, R]`, about [-1, 1].

        Raises:
            InputError: The shape of `ws`, the number of noise maps, the noise mode or the resolution is invalid.
        """
        codes = broadcast_ws(self, ws).to(self.input.dtype).unbind(1)
        maps = chosen_noise(self, noise_mode, noise, len(ws))
        size = chosen_resolution(self, resolution)

        for x in self._blocks(codes, maps):  # noqa: B007 - only the last one is kept in memory
            pass
        return self._image(x, codes[-1], size)

    forward = synthesis

    def finish(self, x: Tensor, ws: Tensor) -> Tensor:
        """The picture that the layers behind an inner one make of its activations.

        Args:
            x: One of `features(ws, …)`, `[B, C, S, S]`.
            ws: As in `synthesis`.

        Returns:
            What `synthesis(ws)` returns, `[B, 3, R, R]`.
        """
        codes = broadcast_ws(self, ws).to(self.input.dtype).unbind(1)
        for inner in self._further_blocks(x, codes, self.noise_maps()):
            x = inner
        return self._image(x, codes[-1], self.resolution)

    def _blocks(self, codes: Sequence[Tensor], maps: Sequence[Tensor | None]) -> Iterator[Tensor]:
        """The activations after the first convolution and after each block."""
        x = self.input.contiguous(memory_format=torch.channels_last).expand(len(codes[0]), -1, -1, -1)
        x = self.conv(x, codes[0], maps[0])
        yield x
        yield from self._further_blocks(x, codes, maps)

    def _further_blocks(self, x: Tensor, codes: Sequence[Tensor], maps: Sequence[Tensor | None]) -> Iterator[Tensor]:
        """The activations after each block behind x, whose size says where it comes from."""
        first = (x.shape[2] // 4).bit_length() - 1
        for i in range(first, len(self.blocks)):
            x = self.blocks[i](x, codes[2 * i + 1 : 2 * i + 3], maps[2 * i + 1 : 2 * i + 3])
            yield x

    def _activations(self, ws: Tensor) -> Iterator[Tensor]:
        return self._blocks(broadcast_ws(self, ws).to(self.input.dtype).unbind(1), self.noise_maps())

    def _image(self, x: Tensor, w: Tensor, size: int) -> Tensor:
        """The image layer; computes only the wavelet bands that a picture of this size needs."""
        scale = self.to_image_modulation(w)[:, :, None, None]
        weight, bias = self.to_image.weight, self.to_image.bias
        if size < self.resolution:
            # The low-pass band is the picture at half the size, times two.
            weight, bias = weight[:3] / 2, None if bias is None else bias[:3] / 2
        x = F.conv2d(x, weight * scale[0], bias) if len(scale) == 1 else F.conv2d(x * scale.to(x.dtype), weight, bias)
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        return inverse_haar(x) if size == self.resolution else F.avg_pool2d(x, self.resolution // 2 // size)

    def _convs(self) -> list[StyledConv]:
        return [module for module in self.modules() if isinstance(module, StyledConv)]
