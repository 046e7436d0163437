"""StyleGAN2 (Karras et al. 2020), with the variants that StyleGAN2-ADA trains.

Weights are the published ones as they are, scaled at run time, so that Adam's steps mean what they mean in the paper.
Activations are channels-last. For one picture styles, demodulation and gains go into a layer's weights, which are
small; what is left over a large activation is the convolution, the blur of an up-sampling one, and one pass for noise,
bias and activation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from pti_hub.errors import InputError
from pti_hub.generators.filters import activate, activate_reference, resample, resample_reference
from pti_hub.generators.layers import EqualLinear, MappingNetwork, StyledGenerator
from pti_hub.generators.protocol import NoiseMode, broadcast_ws, chosen_noise, chosen_resolution

Architecture = Literal["skip", "resnet", "orig"]

TAPS = (0.125, 0.375, 0.375, 0.125)
"""[1, 3, 3, 1] / 8, the low-pass filter of every published network."""


def modulated_conv_reference(
    x: Tensor, weight: Tensor, styles: Tensor, demodulate: bool = True, up: int = 1, taps: Tensor | None = None
) -> Tensor:
    """The slow form of `modulated_conv`: as the paper tells it, a picture at a time.

    Args:
        x: `[B, in, H, W]`.
        weight: `[out, in, k, k]`.
        styles: `[B, in]`.
        demodulate: Whether each output channel is brought to unit variance (Karras et al. 2020, Eq. 3).
        up: 2 for a picture of twice the size, else 1.
        taps: Low-pass filter `[K]` of the up-sampling.

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
            # Zero insertion and blur first, then an ordinary convolution, here a true one: the kernel is turned round.
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
    """A convolution whose weights a style scales (Karras et al. 2020, Eq. 1 and 3); see `modulated_conv_reference`.

    Args:
        x: `[B, in, H, W]`.
        weight: `[out, in, k, k]`.
        styles: `[B, in]`.
        demodulate: Whether to bring each output channel to unit variance.
        up: 2 for a picture of twice the size, else 1.
        taps: Low-pass filter `[K]` of the up-sampling.
        gain: Factor on the result.
        bias: `[out]`, added where nothing is up-sampled.

    Returns:
        `[B, out, H·up, W·up]`.
    """
    if x.dtype == torch.float16 and demodulate:
        # Demodulation takes any scale away again, and large ones overflow before it does.
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
        # The bias goes with the convolution unless the scale is still to come.
        early = bias.to(x.dtype) if bias is not None and (single or scale is None) else None
        x = F.conv2d(x, weight, early, padding=edge)
    else:
        assert taps is not None
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=up)
        before, after = (len(taps) + up - 1) // 2 - edge, (len(taps) - up) // 2 - edge + up - 1
        x = resample(x, taps, padding=(before, after), gain=up**2)
        early = None
    if not single and scale is not None:
        x = x * scale[:, :, None, None].to(x.dtype)
    return x if bias is None or early is not None else x + bias.to(x.dtype)[:, None, None]


class StyledConv(nn.Module):
    """Modulated 3×3 convolution, noise, bias, leaky ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        w_dim: Width of w.
        resolution: Height and width of the output, in pixels.
        up: 2 where the input has half of that, else 1.
        clamp: Largest magnitude of the output.
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
        # The gain goes through a leaky ReLU.
        total = math.sqrt(2) * gain
        bias, clamp = self.bias * total, None if self.clamp is None else self.clamp * gain
        if noise is not None:
            noise = noise * (self.noise_strength * total)
        early = bias if self.up == 1 else None
        x = modulated_conv(x, self.weight, self.modulation(w), True, self.up, self.taps, total, early)
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
        in_channels: Channels of the resolution below; 0 at 4², which begins with a learned constant.
        out_channels: Channels of this one.
        w_dim: Width of w.
        resolution: Height and width, in pixels.
        architecture: See `StyleGAN2`.
        last: Whether this is the picture's own resolution.
        clamp: Largest magnitude of a convolution's output.
        half: Whether to compute in half precision where that is asked for.
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
        """Number of convolutions that take a w of their own."""
        return 1 if self.conv0 is None else 2

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Sequence[Tensor], noise: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        """Features and picture of this resolution from those of the one below; `ws` holds one more than `noise`."""
        if self.conv0 is None:
            assert self.input is not None
            x = self.input.contiguous(memory_format=torch.channels_last).expand(len(ws[0]), -1, -1, -1)
            x = self.conv1(x, ws[0], noise[0])
        else:
            assert x is not None
            # Half precision is for pictures; gradients would need their losses scaled.
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


def enlarge(x: Tensor, taps: Tensor) -> Tensor:
    """Twice the size, low-pass filtered: `[B, C, H, W]` to `[B, C, 2H, 2W]`."""
    return resample(x, taps, up=2, padding=(len(taps) // 2, len(taps) // 2 - 1), gain=4)


class StyleGAN2(StyledGenerator, PyTorchModelHubMixin, library_name="pti-hub", tags=["stylegan", "gan-inversion"]):
    """A style-based generator with mapping and synthesis network; fulfils the `Generator` protocol.

    The defaults are config-f's at 1024². The layers of the `num_ws` ws: the convolution at 4² takes w 0, the two of the
    i-th resolution above it w 2i-1 and 2i; an image layer takes the w after its resolution's last convolution.

    Args:
        resolution: Height and width of the picture, a power of two.
        z_dim: Width of z.
        w_dim: Width of w.
        c_dim: Number of classes of a conditional network, 0 for none.
        channel_base: Channels times resolution, where that is below `channel_max`.
        channel_max: Most channels of a layer.
        channels: Channels of each resolution from 4² on, in place of the former two.
        mapping_layers: Depth of the mapping network.
        mapping_hidden_dim: Width of its hidden layers; that of w by default.
        mapping_embed_dim: Width of its embedding of a class; that of w by default.
        mapping_lr_multiplier: Learning-rate multiplier of its layers.
        architecture: How the picture comes out: `"skip"`, a sum over resolutions; `"resnet"`, of the last one, with
            residual connections between features; `"orig"`, of the last one.
        conv_clamp: Largest magnitude of a convolution's output; none by default.
        num_fp16_res: Number of resolutions, from the largest down, that a GPU computes in half precision where no
            gradient is asked for.

    Raises:
        InputError: A number is out of range; a file that was tampered with must not take all memory.
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
        if conv_clamp is not None and not conv_clamp > 0:
            raise InputError(f"conv_clamp={conv_clamp!r}; expected a number above zero, or None")
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
        return [conv.noise_const for conv in self._convs()]

    def modulation_weights(self) -> list[list[Tensor]]:
        """Weights `[channels, w_dim]` of the affine maps that each of the `num_ws` layers' w goes through."""
        layers: list[list[Tensor]] = [[] for _ in range(self.num_ws)]
        for i, conv in enumerate(self._convs()):
            layers[i].append(conv.modulation.weight.detach() * conv.modulation.weight_gain)
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            if block.to_image is not None:
                modulation = block.to_image.modulation
                layers[2 * i + 1].append(modulation.weight.detach() * modulation.weight_gain)
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
            noise_mode: `"const"` for the fixed maps, `"random"` for new ones each call, `"none"` for none.
            noise: Maps to use instead, one a convolution, shapes as `noise_maps` gives them.
            resolution: A smaller picture: of the architecture `"skip"` the sum up to there, which costs as much less;
                of others the full one, box-filtered.

        Returns:
            `[B, 3, R, R]`, about [-1, 1].

        Raises:
            InputError: The shape of `ws`, the number of noise maps, the mode or the resolution is not one of these.
        """
        codes = broadcast_ws(self, ws).to(self.w_avg.dtype).unbind(1)
        maps = chosen_noise(self, noise_mode, noise, len(ws))
        size = chosen_resolution(self, resolution)
        x = image = None
        first = 0
        for block in self.blocks:
            assert isinstance(block, Block)
            last = first + block.num_convs
            x, image = block(x, image, codes[first : last + 1], maps[first:last])
            first = last
            if image is not None and image.shape[2] == size:
                break
        assert image is not None
        return image if image.shape[2] == size else F.avg_pool2d(image, self.resolution // size)

    forward = synthesis

    def _convs(self) -> list[StyledConv]:
        return [module for module in self.modules() if isinstance(module, StyledConv)]
