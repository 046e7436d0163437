"""StyleGAN3 (Karras et al. 2021), configurations T and R.

The picture starts as Fourier features that w rotates and shifts; each layer filters out what the non-linearity would
alias. There are no noise inputs. Weights are stored as published and scaled at run time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pti_hub.errors import InputError
from pti_hub.generators.filters import activate, resample
from pti_hub.generators.layers import EqualLinear, MappingNetwork, StyledGenerator, check_clamp
from pti_hub.generators.protocol import NoiseMode, StyleLayer, broadcast_ws, chosen_noise, chosen_resolution
from pti_hub.storage import Network


def lowpass_filter(num_taps: int, cutoff: float, width: float, rate: float, radial: bool = False) -> Tensor:
    """Kaiser-windowed low-pass filter with unit gain for a constant (Karras et al. 2021, appendix C.1).

    Args:
        num_taps: Number of taps.
        cutoff: Cut-off frequency, at which the filter halves the amplitude.
        width: Width of the transition band, in the unit of `cutoff`.
        rate: Sampling rate, in the unit of `cutoff`.
        radial: Whether the filter is rotationally symmetric: a two-dimensional jinc instead of a sinc for each axis.

    Returns:
        `[K]`, or `[K, K]` if `radial`; the single tap 1 if `num_taps` is 1.
    """
    if num_taps == 1:
        return torch.ones(1)
    # Kaiser's formulas: the attenuation that this number of taps reaches, and the window for that attenuation.
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
    """Sine waves at random frequencies, rotated and shifted by w, and a linear map over their channels.

    Args:
        channels: Number of frequencies and of output channels.
        w_dim: Width of w.
        size: Height and width of the output.
        rate: Sampling rate, in samples per picture.
        bandwidth: Largest frequency, in periods per picture.
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
        """Map w `[B, w_dim]` to features `[B, channels, size, size]`; the buffer `transform` moves the picture."""
        # Rounded frequencies would shake the picture's edges by a pixel.
        with torch.autocast(w.device.type, enabled=False):
            return self._waves(w)

    def _waves(self, w: Tensor) -> Tensor:
        t = self.modulation(w)
        cos, sin, x, y = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        rotation = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], 1).unflatten(1, (3, 3))
        shift = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], 1).unflatten(1, (3, 3))
        transform = rotation @ shift @ self.transform  # [B, 3, 3]

        phases = self.phases + (self.frequencies @ transform[:, :2, 2:])[..., 0]
        frequencies = self.frequencies @ transform[:, :2, :2]  # [B, channels, 2]
        # Frequencies that `transform` moves beyond the band fade out.
        excess = (frequencies.norm(dim=2) - self.bandwidth) / (self.rate / 2 - self.bandwidth)
        amplitudes = (1 - excess).clamp(0, 1)

        # The phase of a wave at a grid point is the sum of a row's phase and a column's phase.
        position = (torch.arange(self.size, device=w.device, dtype=w.dtype) + 0.5 - self.size / 2) / self.rate
        rows = position[:, None] * frequencies[:, None, :, 1] + phases[:, None]  # [B, size, channels]
        columns = position[:, None] * frequencies[:, None, :, 0]
        waves = torch.sin(2 * math.pi * (rows[:, :, None] + columns[:, None])) * amplitudes[:, None, None]
        return (waves @ (self.weight.T / math.sqrt(len(self.weight)))).permute(0, 3, 1, 2)


class FilteredConv(nn.Module):
    """Modulated convolution, then a leaky ReLU between an up-sampling and a down-sampling filter.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        w_dim: Width of w.
        sizes: Side lengths of the square input and output, margins included.
        rates: Sampling rates of input, non-linearity and output.
        cutoffs: Cut-off frequencies of input and output.
        half_widths: Half the widths of the transition bands of input and output.
        kernel: Height and width of the convolution's kernel.
        filter_size: Length of a filter, in samples at the lower sampling rate.
        radial: Whether the down-sampling filter is rotationally symmetric.
        clamp: Largest magnitude of the non-linearity's output; `None` for no limit.
        to_image: Whether this is the image layer, which has no demodulation and no non-linearity.
        half: Whether a GPU computes in half precision when no gradient is needed.
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
            # Half precision needs weights and styles of unit magnitude before the demodulation.
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
        # A leaky ReLU commutes with a positive gain, so the gain of √2 is applied before it.
        x = resample(x, self.up_taps, up=self.up, padding=self.padding, gain=self.up**2 * math.sqrt(2))
        return resample(activate(x, clamp=self.clamp), self.down_taps, down=self.down)


class StyleGAN3(StyledGenerator, Network, tags=["stylegan", "gan-inversion"]):
    """StyleGAN3's mapping and synthesis networks; implements the `Generator` protocol.

    The defaults are those of configuration T; configuration R has `conv_kernel=1, use_radial_filters=True` and twice
    the channels. The Fourier features take w 0; each layer and the image layer take one of the following ws.

    Args:
        resolution: Height and width of the picture.
        z_dim: Width of z.
        w_dim: Width of w.
        c_dim: Number of classes; 0 for an unconditional network.
        channel_base: A layer has `channel_base` / (2 · cut-off frequency) channels, at most `channel_max`.
        channel_max: Maximum number of channels of a layer.
        mapping_layers: Depth of the mapping network.
        mapping_lr_multiplier: Learning-rate multiplier of the mapping network's layers.
        num_layers: Number of layers, not counting the Fourier features and the image layer.
        num_critical: Number of layers at the end that are critically sampled.
        first_cutoff: Cut-off frequency f_c of the first layer.
        first_stopband: Stop-band frequency f_t of the first layer.
        last_stopband_rel: Stop-band frequency of the last layer, relative to the layer's cut-off frequency.
        margin_size: Width of the margin around the picture, in samples.
        output_scale: Factor on the picture.
        conv_kernel: Height and width of the convolutions' kernels.
        filter_size: Length of a filter, in samples at the lower sampling rate.
        lrelu_upsampling: Sampling rate of a non-linearity, relative to the higher of input and output rate.
        use_radial_filters: Whether the down-sampling filters are rotationally symmetric, except in critically sampled
            layers.
        conv_clamp: Largest magnitude of a non-linearity's output; `None` for no limit.
        num_fp16_res: Number of resolutions, from the largest down, that a GPU computes in half precision when no
            gradient is needed.

    Raises:
        InputError: A number is out of range; the limits keep a tampered file from exhausting memory.
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
                f"{last_stopband_rel!r}, output_scale={output_scale!r}; expected the cut-off below the stop band, the "
                f"stop band up to {resolution / 2:g}, and 1 to 4 for last_stopband_rel"
            )
        small = {"conv_kernel": conv_kernel, "filter_size": filter_size, "lrelu_upsampling": lrelu_upsampling}
        if (
            lrelu_upsampling not in (1, 2, 4)
            or any(count not in range(1, 17) for count in small.values())
            or margin_size not in range(257)
        ):
            listed = ", ".join(f"{name}={count}" for name, count in small.items())
            raise InputError(f"{listed}, margin_size={margin_size}; expected 1 to 16 each, margins to 256")
        check_clamp(conv_clamp)
        super().__init__(MappingNetwork(z_dim, w_dim, mapping_layers, mapping_lr_multiplier, c_dim))
        self.resolution = resolution
        self.num_ws = num_layers + 2
        self.output_scale = output_scale

        progress = [min(i / (num_layers - num_critical), 1.0) for i in range(num_layers + 1)]
        cutoffs, rates, half_widths = _bands(progress, resolution, first_cutoff, first_stopband, last_stopband_rel)
        sizes = [rate + 2 * margin_size for rate in rates[:-2]] + [resolution, resolution]
        self.margins = [margin_size] * (num_layers - 1) + [0, 0]
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
        """An empty list, since StyleGAN3 has no noise inputs."""
        return []

    def style_layers(self) -> list[StyleLayer]:
        """The affine maps from w to styles in order of use; layer 0 rotates and shifts the Fourier features."""
        layers = []
        for w, name in enumerate(["input", *(f"layers.{i}" for i in range(len(self.layers)))]):
            modulation = self.get_submodule(f"{name}.modulation")
            assert isinstance(modulation, EqualLinear)
            weight = modulation.weight.detach() * modulation.weight_gain
            layers.append(StyleLayer(f"{name}.modulation", w, weight))
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
            noise_mode: Has no effect, since there are no noise inputs.
            noise: `None` or an empty sequence.
            resolution: Height and width of a smaller picture, which is the full one box-filtered.

        Returns:
            `[B, 3, R, R]`, about [-1, 1].

        Raises:
            InputError: The shape of `ws`, the number of noise maps, the noise mode or the resolution is invalid.
        """
        codes = broadcast_ws(self, ws).to(self.w_avg.dtype).unbind(1)
        chosen_noise(self, noise_mode, noise, len(ws))
        size = chosen_resolution(self, resolution)
        for x in self._levels(codes):  # noqa: B007 - only the last one is kept in memory
            pass
        x = x.to(torch.promote_types(x.dtype, torch.float32)) * self.output_scale
        return x if size == self.resolution else F.avg_pool2d(x, self.resolution // size)

    forward = synthesis

    def _levels(self, codes: Sequence[Tensor]) -> Iterator[Tensor]:
        """The activation after each layer, with its margins."""
        x = self.input(codes[0])
        for layer, w in zip(self.layers, codes[1:], strict=True):
            x = layer(x, w)
            yield x

    def _activations(self, ws: Tensor) -> Iterator[Tensor]:
        for x, margin in zip(
            self._levels(broadcast_ws(self, ws).to(self.w_avg.dtype).unbind(1)), self.margins, strict=True
        ):
            yield x[..., margin : x.shape[2] - margin, margin : x.shape[3] - margin]


def _bands(
    progress: list[float], resolution: int, first_cutoff: float, first_stopband: float, last_stopband_rel: float
) -> tuple[list[float], list[int], list[float]]:
    """Cut-off frequency, sampling rate and half transition width of each layer (section 3.2).

    Args:
        progress: How far each layer is on the way from the first layer to the critically sampled ones, 0 to 1;
            cut-off and stop-band frequencies grow geometrically on that way.
        resolution: See `StyleGAN3` for this argument and the following ones.
    """
    last_cutoff = resolution / 2
    cutoffs = [first_cutoff * (last_cutoff / first_cutoff) ** t for t in progress]
    last_stopband = last_cutoff * last_stopband_rel
    stopbands = [first_stopband * (last_stopband / first_stopband) ** t for t in progress]
    rates = [2 ** math.ceil(math.log2(min(2 * stop, resolution))) for stop in stopbands]
    half_widths = [max(s, r / 2) - c for s, r, c in zip(stopbands, rates, cutoffs, strict=True)]
    return cutoffs, rates, half_widths
