"""StyleGAN2 (Karras et al. 2020), including the variants that StyleGAN2-ADA trains.

Weights are stored as published and scaled at run time, so that Adam's steps have the same effect as in the paper.
Activations are channels-last. For a single picture, styles, demodulation and gains are folded into a layer's weights,
which are small. Only three operations then pass over a large activation: the convolution, the blur after up-sampling,
and one pass for noise, bias and leaky ReLU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pti_hub.errors import InputError
from pti_hub.generators.filters import activate, activate_reference, enlarge, resample, resample_reference
from pti_hub.generators.layers import EqualLinear, MappingNetwork, StyledGenerator, check_clamp
from pti_hub.generators.protocol import NoiseMode, StyleLayer, broadcast_ws, chosen_noise, chosen_resolution
from pti_hub.storage import Network

Architecture = Literal["skip", "resnet", "orig"]

TAPS = (0.125, 0.375, 0.375, 0.125)
"""[1, 3, 3, 1] / 8, the low-pass filter of every published network."""


def modulated_conv_reference(
    x: Tensor, weight: Tensor, styles: Tensor, demodulate: bool = True, up: int = 1, taps: Tensor | None = None
) -> Tensor:
    """The slow form of `modulated_conv`: literally as in the paper, one picture at a time.

    Args:
        x: `[B, in, H, W]`.
        weight: `[out, in, k, k]`.
        styles: `[B, in]`.
        demodulate: Whether to scale each output channel to unit variance (Karras et al. 2020, Eq. 3).
        up: 2 to double height and width, else 1.
        taps: Low-pass filter `[K]` for up-sampling.

    Returns:
        `[B, out, H·up, W·up]`.
    """
    pictures = []
    for picture, style in zip(x, styles, strict=True):
        kernel = weight * style[None, :, None, None]
        if demodulate:
            kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        edge = kernel.shape[-1] // 2
        if up == 1:
            pictures.append(F.conv2d(picture[None], kernel, padding=edge))
        else:
            assert taps is not None
            # Insert zeros and blur first, then convolve. This is a true convolution, so the kernel is flipped.
            before, after = edge + (len(taps) + up - 1) // 2, edge + (len(taps) - up) // 2
            smooth = resample_reference(picture[None], taps, up=up, padding=(before, after), gain=up**2)
            pictures.append(F.conv2d(smooth, kernel.flip((2, 3))))
    return torch.cat(pictures)


def modulated_conv(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    demodulate: bool = True,
    up: int = 1,
    taps: Tensor | None = None,
    gain: float = 1.0,
    bias: Tensor | None = None,
) -> Tensor:
    """Convolution whose weights a style scales (Karras et al. 2020, Eq. 1 and 3); see `modulated_conv_reference`.

    Args:
        x: `[B, in, H, W]`.
        weight: `[out, in, k, k]`.
        styles: `[B, in]`.
        demodulate: Whether to scale each output channel to unit variance.
        up: 2 to double height and width, else 1.
        taps: Low-pass filter `[K]` for up-sampling.
        gain: Factor on the convolution's output.
        bias: `[out]`, added after the gain.

    Returns:
        `[B, out, H·up, W·up]`.
    """
    if x.dtype == torch.float16 and demodulate:
        # Demodulation cancels any scale of weights and styles, but large ones would first overflow half precision.
        weight = weight / (weight.detach().abs().amax((1, 2, 3), keepdim=True) * math.sqrt(weight[0].numel()))
        styles = styles / styles.detach().abs().amax(1, keepdim=True)
    scale: Tensor | None = None
    if demodulate:
        scale = (styles.square() @ weight.square().sum((2, 3)).T + 1e-8).rsqrt() * gain
    elif gain != 1.0:
        scale = styles.new_full((1, 1), gain)
    single = len(styles) == 1
    if single:
        factor = styles if scale is None else styles[0] * scale[0][:, None]
        weight = weight * factor[:, :, None, None]
    else:
        x = x * styles[:, :, None, None].to(x.dtype)
    weight = weight.to(x.dtype)
    edge = weight.shape[-1] // 2
    if up == 1:
        # The convolution adds the bias itself, unless the output still has to be scaled.
        fused_bias = bias.to(x.dtype) if bias is not None and (single or scale is None) else None
        x = F.conv2d(x, weight, fused_bias, padding=edge)
    else:
        assert taps is not None
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=up)
        before, after = (len(taps) + up - 1) // 2 - edge, (len(taps) - up) // 2 - edge + up - 1
        x = resample(x, taps, padding=(before, after), gain=up**2)
        fused_bias = None
    if not single and scale is not None:
        x = x * scale[:, :, None, None].to(x.dtype)
    return x if bias is None or fused_bias is not None else x + bias.to(x.dtype)[:, None, None]


class StyledConv(nn.Module):
    """Modulated 3×3 convolution, noise, bias, and a leaky ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        w_dim: Width of w.
        resolution: Height and width of the output, in pixels.
        up: 2 if the input has half that resolution, else 1.
        clamp: Largest magnitude of the output; `None` for no limit.
    """

    taps: Tensor
    noise_const: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, resolution: int, up: int, clamp: float | None
    ) -> None:
        super().__init__()
        self.up, self.clamp = up, clamp
        self.modulation = EqualLinear(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(1, 1, resolution, resolution))
        self.register_buffer("taps", torch.tensor(TAPS), persistent=False)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None, gain: float = 1.0) -> Tensor:
        """Map x `[B, in, H, W]` and w `[B, w_dim]` to `[B, out, H·up, W·up]`, times `gain`."""
        # A leaky ReLU commutes with a positive gain, so the gain is applied before it.
        total = math.sqrt(2) * gain
        bias, clamp = self.bias * total, None if self.clamp is None else self.clamp * gain
        if noise is not None:
            noise = noise * (self.noise_strength * total)
        conv_bias = bias if self.up == 1 else None
        x = modulated_conv(x, self.weight, self.modulation(w), True, self.up, self.taps, total, conv_bias)
        return activate(x, None if self.up == 1 else bias, noise, clamp=clamp)

    def reference(self, x: Tensor, w: Tensor, noise: Tensor | None, gain: float = 1.0) -> Tensor:
        """The slow form of `forward`."""
        x = modulated_conv_reference(x, self.weight, self.modulation(w), True, self.up, self.taps)
        noise = None if noise is None else noise * self.noise_strength
        x = activate_reference(x, self.bias, noise) * math.sqrt(2) * gain
        return x if self.clamp is None else x.clamp(-self.clamp * gain, self.clamp * gain)


class ToImage(nn.Module):
    """Modulated 1×1 convolution to three channels, without demodulation."""

    def __init__(self, in_channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.modulation = EqualLinear(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map x `[B, in, H, W]` and w `[B, w_dim]` to `[B, 3, H, W]`."""
        styles = self.modulation(w) / math.sqrt(x.shape[1])
        x = modulated_conv(x, self.weight, styles, demodulate=False, bias=self.bias)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Block(nn.Module):
    """The layers of one resolution.

    Args:
        in_channels: Channels at the next lower resolution; 0 at 4², where the input is a learned constant.
        out_channels: Channels at this resolution.
        w_dim: Width of w.
        resolution: Height and width, in pixels.
        architecture: See `StyleGAN2`.
        last: Whether this is the resolution of the picture.
        clamp: Largest magnitude of a convolution's output; `None` for no limit.
        half: Whether a GPU computes in half precision when no gradient is needed.
    """

    taps: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        architecture: Architecture,
        last: bool,
        clamp: float | None,
        half: bool,
    ) -> None:
        super().__init__()
        self.half_precision = half
        self.input = None if in_channels else nn.Parameter(torch.randn(1, out_channels, 4, 4))
        self.conv0 = StyledConv(in_channels, out_channels, w_dim, resolution, 2, clamp) if in_channels else None
        self.conv1 = StyledConv(out_channels, out_channels, w_dim, resolution, 1, clamp)
        self.to_image = ToImage(out_channels, w_dim, clamp) if last or architecture == "skip" else None
        self.skip = None
        if in_channels and architecture == "resnet":
            self.skip = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.register_buffer("taps", torch.tensor(TAPS), persistent=False)

    @property
    def num_convs(self) -> int:
        """Number of convolutions, each of which takes its own w."""
        return 1 if self.conv0 is None else 2

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Sequence[Tensor], noise: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        """Compute features and picture at this resolution from features and picture at the next lower one.

        `noise` holds one map per convolution; `ws` one w per convolution and one for the image layer.
        """
        if self.conv0 is None:
            assert self.input is not None
            x = self.input.contiguous(memory_format=torch.channels_last).expand(len(ws[0]), -1, -1, -1)
            x = self.conv1(x, ws[0], noise[0])
        else:
            assert x is not None
            # Half precision is only used for rendering: gradients would need loss scaling.
            if self.half_precision and x.is_cuda and not torch.is_grad_enabled():
                x = x.half()
            if self.skip is None:
                x = self.conv1(self.conv0(x, ws[0], noise[0]), ws[1], noise[1])
            else:
                gain = math.sqrt(0.5)
                weight = (self.skip * (gain / math.sqrt(self.skip.shape[1]))).to(x.dtype)
                y = enlarge(F.conv2d(x, weight), self.taps)
                x = y + self.conv1(self.conv0(x, ws[0], noise[0]), ws[1], noise[1], gain)
        if image is not None:
            image = enlarge(image, self.taps)
        if self.to_image is not None:
            y = self.to_image(x, ws[-1])
            y = y.to(torch.promote_types(y.dtype, torch.float32))
            image = y if image is None else image + y
        return x, image


class StyleGAN2(StyledGenerator, Network, tags=["stylegan", "gan-inversion"]):
    """StyleGAN2's mapping and synthesis networks; implements the `Generator` protocol.

    The defaults are those of config-f at 1024². The convolution at 4² takes w 0; the two convolutions at the i-th
    resolution above 4² take w 2i-1 and w 2i; the image layer of a resolution takes the w after the resolution's last
    convolution.

    Args:
        resolution: Height and width of the picture, a power of two.
        z_dim: Width of z.
        w_dim: Width of w.
        c_dim: Number of classes; 0 for an unconditional network.
        channel_base: A layer has `channel_base` / resolution channels, at most `channel_max`.
        channel_max: Maximum number of channels of a layer.
        channels: Channels at each resolution from 4² on; overrides `channel_base` and `channel_max`.
        mapping_layers: Depth of the mapping network.
        mapping_hidden_dim: Width of the mapping network's hidden layers; `w_dim` by default.
        mapping_embed_dim: Width of the mapping network's class embedding; `w_dim` by default.
        mapping_lr_multiplier: Learning-rate multiplier of the mapping network's layers.
        architecture: `"skip"` sums the pictures of all resolutions; `"orig"` takes the last resolution's picture;
            `"resnet"` does so too, with residual connections between features.
        conv_clamp: Largest magnitude of a convolution's output; no limit by default.
        num_fp16_res: Number of resolutions, from the largest down, that a GPU computes in half precision when no
            gradient is needed.

    Raises:
        InputError: A number is out of range; the limits keep a tampered file from exhausting memory.
    """

    def __init__(
        self,
        resolution: int = 1024,
        z_dim: int = 512,
        w_dim: int = 512,
        c_dim: int = 0,
        channel_base: int = 32768,
        channel_max: int = 512,
        channels: Sequence[int] | None = None,
        mapping_layers: int = 8,
        mapping_hidden_dim: int | None = None,
        mapping_embed_dim: int | None = None,
        mapping_lr_multiplier: float = 0.01,
        architecture: Architecture = "skip",
        conv_clamp: float | None = None,
        num_fp16_res: int = 0,
    ) -> None:
        if resolution not in [2**i for i in range(3, 13)]:
            raise InputError(f"resolution={resolution!r}; expected a power of two from 8 to 4096")
        sizes = [2**i for i in range(2, resolution.bit_length())]
        if channels is None:
            channels = [min(channel_base // size, channel_max) for size in sizes]
        if len(channels) != len(sizes) or any(c not in range(1, 2049) for c in channels):
            raise InputError(f"channels={list(channels)}; expected {len(sizes)} numbers from 1 to 2048")
        if architecture not in ("skip", "resnet", "orig"):
            raise InputError(f"architecture={architecture!r}; expected 'skip', 'resnet' or 'orig'")
        check_clamp(conv_clamp)
        super().__init__(
            MappingNetwork(
                z_dim, w_dim, mapping_layers, mapping_lr_multiplier, c_dim, mapping_hidden_dim, mapping_embed_dim
            )
        )
        self.resolution = resolution
        self.num_ws = 2 * len(sizes)
        self.stops_early = architecture == "skip"
        self.blocks = nn.ModuleList(
            Block(
                below,
                here,
                w_dim,
                size,
                architecture,
                last=size == resolution,
                clamp=conv_clamp,
                half=size > max(resolution >> num_fp16_res, 4),
            )
            for below, here, size in zip((0, *channels), channels, sizes, strict=False)
        )

    def noise_maps(self) -> list[Tensor]:
        """The fixed noise of each convolution, `[1, 1, H, W]`, standard normal, from coarse to fine."""
        return [module.noise_const for module in self.modules() if isinstance(module, StyledConv)]

    def style_layers(self) -> list[StyleLayer]:
        """The affine maps from w to styles in order of use: per resolution the convolutions, then the image layer."""
        layers = []
        for i, block in enumerate(self.blocks):
            present = [part for part in ("conv0", "conv1", "to_image") if getattr(block, part) is not None]
            for w, part in enumerate(present, max(2 * i - 1, 0)):
                modulation = getattr(block, part).modulation
                weight = modulation.weight.detach() * modulation.weight_gain
                layers.append(StyleLayer(f"blocks.{i}.{part}.modulation", w, weight))
        return layers

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
            resolution: Height and width of a smaller picture. `"skip"` stops its sum at that resolution and computes no
                layer above; the other architectures box-filter the full picture.

        Returns:
            `[B, 3, R, R]`, about [-1, 1].

        Raises:
            InputError: The shape of `ws`, the number of noise maps, the noise mode or the resolution is invalid.
        """
        codes = broadcast_ws(self, ws).to(self.w_avg.dtype).unbind(1)
        maps = chosen_noise(self, noise_mode, noise, len(ws))
        size = chosen_resolution(self, resolution)
        for _, image in self._levels(codes, maps):
            if image is not None and image.shape[2] == size:
                break
        assert image is not None
        return image if image.shape[2] == size else F.avg_pool2d(image, self.resolution // size)

    forward = synthesis

    def _levels(self, codes: Sequence[Tensor], maps: Sequence[Tensor | None]) -> Iterator[tuple[Tensor, Any]]:
        """Features and picture at each resolution."""
        x = image = None
        first = 0
        for block in self.blocks:
            assert isinstance(block, Block)
            last = first + block.num_convs
            x, image = block(x, image, codes[first : last + 1], maps[first:last])
            yield x, image
            first = last

    def _activations(self, ws: Tensor) -> Iterator[Tensor]:
        codes = broadcast_ws(self, ws).to(self.w_avg.dtype).unbind(1)
        return (x for x, _ in self._levels(codes, self.noise_maps()))
