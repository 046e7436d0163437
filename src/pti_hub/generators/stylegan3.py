"""StyleGAN3 (Karras et al. 2021), configurations T and R.

The picture begins as Fourier features that w turns and shifts; each layer filters what its non-linearity would alias.
No noise is added. Weights are the published ones as they are, scaled at run time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from pti_hub.errors import InputError
from pti_hub.generators.filters import activate, resample
from pti_hub.generators.layers import EqualLinear, MappingNetwork, StyledGenerator
from pti_hub.generators.protocol import NoiseMode, broadcast_ws, chosen_noise, chosen_resolution


def lowpass_filter(num_taps: int, cutoff: float, width: float, rate: float, radial: bool = False) -> Tensor:
    """Kaiser-windowed low-pass filter, unit gain for a constant (Karras et al. 2021, appendix C.1).

    Args:
        num_taps: Number of taps.
        cutoff: Where it halves the amplitude.
        width: Of the transition band.
        rate: Sampling rate, in the unit of the former two.
        radial: Whether it is the same in all directions, then `[K, K]`: a jinc in place of a product of sincs.

    Returns:
        `[K]`; a single tap that does nothing where `num_taps` is 1.
    """
    if num_taps == 1:
        return torch.ones(1)
    # Kaiser's formulas for the attenuation that so many taps give, and for the window of that attenuation.
    attenuation = 2.285 * (num_taps - 1) * math.pi * width / (rate / 2) + 7.95
    beta = 0.0
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation > 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    window = torch.kaiser_window(num_taps, periodic=False, beta=beta, dtype=torch.float64)
    t = (torch.arange(num_taps, dtype=torch.float64) - (num_taps - 1) / 2) / rate
    if radial:
        r = torch.hypot(t[:, None], t)
        taps = torch.special.bessel_j1(2 * math.pi * cutoff * r) / (math.pi * r) * window[:, None] * window
    else:
        taps = torch.sinc(2 * cutoff * t) * window
    return (taps / taps.sum()).float()


class FourierInput(nn.Module):
    """A field of sines at random frequencies, turned and shifted by w, and a linear map of it.

    Args:
        channels: Number of frequencies and of output channels.
        w_dim: Width of w.
        size: Height and width of the output.
        rate: Sampling rate, in samples a picture.
        bandwidth: Largest frequency.
    """

    transform: Tensor
    frequencies: Tensor
    phases: Tensor

    def __init__(self, channels: int, w_dim: int, size: int, rate: float, bandwidth: float) -> None:
        super().__init__()
        self.size, self.rate, self.bandwidth = size, rate, bandwidth
        frequencies = torch.randn(channels, 2)
        radii = frequencies.norm(dim=1, keepdim=True)
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.modulation = EqualLinear(w_dim, 4)
        with torch.no_grad():
            self.modulation.weight.zero_()
            self.modulation.bias[0] = 1
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("frequencies", frequencies / (radii * radii.square().exp().pow(0.25)) * bandwidth)
        self.register_buffer("phases", torch.rand(channels) - 0.5)

    def forward(self, w: Tensor) -> Tensor:
        """Features `[B, channels, size, size]` of w `[B, w_dim]`; the buffer `transform` moves the whole picture."""
        t = self.modulation(w)
        cos, sin, x, y = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], 1).unflatten(1, (3, 3))
        shift = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], 1).unflatten(1, (3, 3))
        transform = turn @ shift @ self.transform

        phases = self.phases + (self.frequencies @ transform[:, :2, 2:])[..., 0]
        frequencies = self.frequencies @ transform[:, :2, :2]
        # What `transform` brings beyond the band fades out.
        excess = (frequencies.norm(dim=2) - self.bandwidth) / (self.rate / 2 - self.bandwidth)
        amplitudes = (1 - excess).clamp(0, 1)

        # A frequency's sine over the grid is that of a sum of a row's and a column's angle.
        position = (torch.arange(self.size, device=w.device, dtype=w.dtype) + 0.5 - self.size / 2) / self.rate
        rows = position[:, None] * frequencies[:, None, :, 1] + phases[:, None]
        columns = position[:, None] * frequencies[:, None, :, 0]
        waves = torch.sin(2 * math.pi * (rows[:, :, None] + columns[:, None])) * amplitudes[:, None, None]
        return (waves @ (self.weight.T / math.sqrt(len(self.weight)))).permute(0, 3, 1, 2)


class FilteredConv(nn.Module):
    """Modulated convolution, and a leaky ReLU between an up-sampling and a down-sampling filter.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        w_dim: Width of w.
        sizes: Height and width of input and output, margins included.
        rates: Sampling rates of input, non-linearity and output.
        cutoffs: Cut-off frequencies of input and output.
        half_widths: Half the width of their transition bands.
        kernel: Height and width of the convolution's kernel.
        filter_size: Taps of a filter, in samples of the lower rate.
        radial: Whether the down-sampling filter is radial.
        clamp: Largest magnitude of the non-linearity's output.
        to_image: Whether this is the image layer: no demodulation, no non-linearity.
        half: Whether to compute in half precision where that is asked for.
    """

    up_taps: Tensor
    down_taps: Tensor
    magnitude: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        sizes: tuple[int, int],
        rates: tuple[int, int, int],
        cutoffs: tuple[float, float],
        half_widths: tuple[float, float],
        kernel: int,
        filter_size: int,
        radial: bool,
        clamp: float | None,
        to_image: bool,
        half: bool,
    ) -> None:
        super().__init__()
        self.clamp, self.to_image, self.half_precision = clamp, to_image, half
        self.out_size = sizes[1]
        self.modulation = EqualLinear(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("magnitude", torch.ones(()))
        before, inside, after = rates
        self.up, self.down = inside // before, inside // after
        up_taps = 1 if to_image or self.up == 1 else filter_size * self.up
        down_taps = 1 if to_image or self.down == 1 else filter_size * self.down
        up_filter = lowpass_filter(up_taps, cutoffs[0], 2 * half_widths[0], inside)
        down_filter = lowpass_filter(down_taps, cutoffs[1], 2 * half_widths[1], inside, radial)
        self.register_buffer("up_taps", up_filter, persistent=False)
        self.register_buffer("down_taps", down_filter, persistent=False)
        # Samples lie symmetrically around the picture's centre (appendix C.3).
        total = (sizes[1] - 1) * self.down + 1 - (sizes[0] + kernel - 1) * self.up + up_taps + down_taps - 2
        first = (total + self.up) // 2
        self.padding = (first, total - first)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map x `[B, in, H, W]` and w `[B, w_dim]` to `[B, out, H', W']`."""
        if self.half_precision and x.is_cuda and not torch.is_grad_enabled():
            x = x.half()
        weight: Tensor = self.weight
        styles: Tensor = self.modulation(w)
        if self.to_image:
            weight = weight / math.sqrt(weight[0].numel())
        else:
            # Both are brought to unit magnitude before the demodulation, which half precision needs.
            weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
            styles = styles * styles.square().mean().rsqrt()
            scale = (styles.square() @ weight.square().sum((2, 3)).T + 1e-8).rsqrt()
        gain = self.magnitude.rsqrt()
        edge = weight.shape[-1] - 1
        if len(styles) == 1:
            factor = styles[0] * gain if self.to_image else styles[0] * scale[0][:, None] * gain
            x = F.conv2d(x, (weight * factor.expand(weight.shape[:2])[..., None, None]).to(x.dtype), padding=edge)
        else:
            x = F.conv2d(x * (styles * gain)[..., None, None].to(x.dtype), weight.to(x.dtype), padding=edge)
            if not self.to_image:
                x = x * scale[..., None, None].to(x.dtype)
        x = x + self.bias.to(x.dtype)[:, None, None]
        if self.to_image:
            x = F.pad(x, (*self.padding, *self.padding))
            return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
        # The gain of √2 goes through a leaky ReLU.
        x = resample(x, self.up_taps, up=self.up, padding=self.padding, gain=self.up**2 * math.sqrt(2))
        return resample(activate(x, clamp=self.clamp), self.down_taps, down=self.down)


class StyleGAN3(StyledGenerator, PyTorchModelHubMixin, library_name="pti-hub", tags=["stylegan", "gan-inversion"]):
    """An alias-free generator with mapping and synthesis network; fulfils the `Generator` protocol.

    The defaults are configuration T's; R has `conv_kernel=1, use_radial_filters=True` and twice the channels. The first
    w goes to the Fourier features, the others to a layer each.

    Args:
        resolution: Height and width of the picture.
        z_dim: Width of z.
        w_dim: Width of w.
        c_dim: Number of classes of a conditional network, 0 for none.
        channel_base: Channels times resolution, where that is below `channel_max`.
        channel_max: Most channels of a layer.
        mapping_layers: Depth of the mapping network.
        mapping_lr_multiplier: Learning-rate multiplier of its layers.
        num_layers: Number of layers, without Fourier features and image layer.
        num_critical: How many of the last are critically sampled.
        first_cutoff: Cut-off frequency f_c of the first layer.
        first_stopband: Its stop band f_t.
        last_stopband_rel: Stop band of the last layer, in units of its cut-off.
        margin_size: Samples beyond each edge of the picture.
        output_scale: Factor on the picture.
        conv_kernel: Height and width of the convolutions' kernels.
        filter_size: Taps of a filter, in samples of the lower rate.
        lrelu_upsampling: Sampling rate of a non-linearity, relative to the higher of its layer's.
        use_radial_filters: Whether down-sampling filters are radial, but for critically sampled layers.
        conv_clamp: Largest magnitude of a non-linearity's output.
        num_fp16_res: Number of resolutions, from the largest down, that a GPU computes in half precision where no
            gradient is asked for.

    Raises:
        InputError: A number is out of range; a file that was tampered with must not take all memory.
    """

    stops_early = False

    def __init__(
        self,
        resolution: int = 1024,
        z_dim: int = 512,
        w_dim: int = 512,
        c_dim: int = 0,
        channel_base: int = 32768,
        channel_max: int = 512,
        mapping_layers: int = 2,
        mapping_lr_multiplier: float = 0.01,
        num_layers: int = 14,
        num_critical: int = 2,
        first_cutoff: float = 2.0,
        first_stopband: float = 2**2.1,
        last_stopband_rel: float = 2**0.3,
        margin_size: int = 10,
        output_scale: float = 0.25,
        conv_kernel: int = 3,
        filter_size: int = 6,
        lrelu_upsampling: int = 2,
        use_radial_filters: bool = False,
        conv_clamp: float | None = 256.0,
        num_fp16_res: int = 4,
    ) -> None:
        if num_layers not in range(2, 65) or channel_max not in range(1, 2049):
            raise InputError(f"num_layers={num_layers}, channel_max={channel_max}; expected 2 to 64 and 1 to 2048")
        if resolution not in [2**i for i in range(4, 13)] or not 0 < num_critical < num_layers:
            raise InputError(
                f"resolution={resolution!r}, num_critical={num_critical!r}; expected a power of two from 16 to 4096, "
                f"and fewer critical layers than the {num_layers}"
            )
        bands = (first_cutoff, first_stopband, last_stopband_rel, output_scale)
        if not all(isinstance(band, (int, float)) and math.isfinite(band) for band in bands) or not (
            0 < first_cutoff < first_stopband <= resolution / 2 and 1 <= last_stopband_rel <= 4
        ):
            raise InputError(
                f"first_cutoff={first_cutoff!r}, first_stopband={first_stopband!r}, last_stopband_rel="
                f"{last_stopband_rel!r}, output_scale={output_scale!r}; expected the cut-off below the stop band, that "
                f"up to {resolution / 2:g}, and 1 to 4"
            )
        small = {"conv_kernel": conv_kernel, "filter_size": filter_size, "lrelu_upsampling": lrelu_upsampling}
        if (
            lrelu_upsampling not in (1, 2, 4)
            or any(count not in range(1, 17) for count in small.values())
            or margin_size not in range(257)
        ):
            listed = ", ".join(f"{name}={count}" for name, count in small.items())
            raise InputError(f"{listed}, margin_size={margin_size}; expected 1 to 16 each, margins to 256")
        super().__init__(MappingNetwork(z_dim, w_dim, mapping_layers, mapping_lr_multiplier, c_dim))
        self.resolution = resolution
        self.num_ws = num_layers + 2
        self.output_scale = output_scale

        # Cut-offs and stop bands grow geometrically up to the critical layers (section 3.2).
        t = [min(i / (num_layers - num_critical), 1.0) for i in range(num_layers + 1)]
        last_cutoff = resolution / 2
        cutoffs = [first_cutoff * (last_cutoff / first_cutoff) ** e for e in t]
        last_stopband = last_cutoff * last_stopband_rel
        stopbands = [first_stopband * (last_stopband / first_stopband) ** e for e in t]
        rates = [2 ** math.ceil(math.log2(min(2 * stop, resolution))) for stop in stopbands]
        half_widths = [max(s, r / 2) - c for s, r, c in zip(stopbands, rates, cutoffs, strict=True)]
        sizes = [rate + 2 * margin_size for rate in rates[:-2]] + [resolution, resolution]
        channels = [max(1, round(min(channel_base / 2 / cutoff, channel_max))) for cutoff in cutoffs[:-1]] + [3]
        self.input = FourierInput(channels[0], w_dim, sizes[0], rates[0], cutoffs[0])
        self.layers = nn.ModuleList()
        for i in range(num_layers + 1):
            below, last = max(i - 1, 0), i == num_layers
            self.layers.append(
                FilteredConv(
                    channels[below],
                    channels[i],
                    w_dim,
                    (sizes[below], sizes[i]),
                    (rates[below], max(rates[below], rates[i]) * (1 if last else lrelu_upsampling), rates[i]),
                    (cutoffs[below], cutoffs[i]),
                    (half_widths[below], half_widths[i]),
                    kernel=1 if last else conv_kernel,
                    filter_size=filter_size,
                    radial=use_radial_filters and i < num_layers - num_critical,
                    clamp=conv_clamp,
                    to_image=last,
                    half=rates[i] * 2**num_fp16_res > resolution,
                )
            )

    def noise_maps(self) -> list[Tensor]:
        """None: no noise is added."""
        return []

    def modulation_weights(self) -> list[list[Tensor]]:
        """Weights `[channels, w_dim]` of the affine maps that each of the `num_ws` layers' w goes through."""
        layers: list[list[Tensor]] = []
        for layer in (self.input, *self.layers):
            modulation = layer.modulation
            assert isinstance(modulation, EqualLinear)
            layers.append([modulation.weight.detach() * modulation.weight_gain])
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
            noise_mode: Of no effect here.
            noise: None, or no maps.
            resolution: A smaller picture: the full one, box-filtered.

        Returns:
            `[B, 3, R, R]`, about [-1, 1].

        Raises:
            InputError: The shape of `ws`, the number of noise maps, the mode or the resolution is not one of these.
        """
        codes = broadcast_ws(self, ws).to(self.w_avg.dtype).unbind(1)
        chosen_noise(self, noise_mode, noise, len(ws))
        size = chosen_resolution(self, resolution)
        x = self.input(codes[0])
        for layer, w in zip(self.layers, codes[1:], strict=True):
            x = layer(x, w)
        x = x.to(torch.promote_types(x.dtype, torch.float32)) * self.output_scale
        return x if size == self.resolution else F.avg_pool2d(x, self.resolution // size)

    forward = synthesis
