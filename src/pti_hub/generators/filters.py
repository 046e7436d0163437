"""Resampling with finite-impulse-response filters, and fused activation; each beside a slow reference form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pti_hub.generators.layers import LEAKY_SLOPE

# Size in bytes of a block of rows that stays in a CPU core's cache from one operation to the next.
_CACHE_BYTES = 1 << 20


def resample_reference(
    x: Tensor, taps: Tensor, up: int = 1, down: int = 1, padding: Sequence[int] = (0, 0), gain: float = 1.0
) -> Tensor:
    """The slow form of `resample`: insert zeros, convolve with the dense kernel, drop samples."""
    batch, channels, height, width = x.shape
    zeros = x.new_zeros(batch, channels, height * up, width * up)
    zeros[:, :, ::up, ::up] = x
    kernel = taps.flip(0)[:, None] * taps.flip(0) if taps.ndim == 1 else taps.flip((0, 1))
    # Negative padding crops.
    padded = F.pad(zeros, (*padding, *padding)).flatten(0, 1)[:, None]
    filtered = F.conv2d(padded, kernel.to(x)[None, None] * gain)
    return filtered[:, 0].unflatten(0, (batch, channels))[:, :, ::down, ::down]


class _Resample(torch.autograd.Function):
    # The gradient of a linear map with constant taps needs no saved tensor; autograd would keep the whole activation.

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, up: tuple[int, int], down: tuple[int, int], pad: Any) -> Tensor:
        ctx.size, ctx.kernel, ctx.up, ctx.down, ctx.pad = x.shape[2:], kernel, up, down, pad
        if up == (1, 1):
            return _convolved(x, kernel.flip((0, 1)), down, pad)
        return F.pad(_spread(x, kernel, up), _beyond(kernel, up, pad))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        kernel, up, down = ctx.kernel, ctx.up, ctx.down
        if up != (1, 1):
            before = [-edge for edge in _beyond(kernel, up, ctx.pad)]
            return _convolved(grad, kernel, up, before), None, None, None, None
        left, right, top, bottom = ctx.pad
        if down == (1, 1):
            height, width = kernel.shape
            edges = [width - 1 - left, width - 1 - right, height - 1 - top, height - 1 - bottom]
            return _convolved(grad, kernel, down, edges), None, None, None, None
        full = _spread(grad, kernel.flip((0, 1)), down)
        height, width = ctx.size
        # Samples after the last window did not affect the result, so their gradient is zero.
        unused = (width + left + right - full.shape[3], height + top + bottom - full.shape[2])
        return F.pad(full, (-left, unused[0] - right, -top, unused[1] - bottom)), None, None, None, None


def _convolved(x: Tensor, kernel: Tensor, stride: tuple[int, int], pad: Sequence[int]) -> Tensor:
    """Correlation of each channel with the kernel `[height, width]`; `pad` is left, right, top and bottom."""
    left, right, top, bottom = pad
    x = x.contiguous(memory_format=torch.channels_last)
    if left != right or top != bottom or min(pad) < 0:
        x, left, top = F.pad(x, tuple(pad)), 0, 0
    return F.conv2d(x, _per_channel(x, kernel), stride=stride, padding=(top, left), groups=x.shape[1])


def _spread(x: Tensor, kernel: Tensor, stride: tuple[int, int]) -> Tensor:
    """Transposed convolution of each channel: the sum of kernels `stride` apart, each scaled by a sample."""
    x = x.contiguous(memory_format=torch.channels_last)
    return F.conv_transpose2d(x, _per_channel(x, kernel), stride=stride, groups=x.shape[1])


def _per_channel(x: Tensor, kernel: Tensor) -> Tensor:
    return kernel.to(x)[None, None].expand(x.shape[1], 1, -1, -1)


def _beyond(kernel: Tensor, up: tuple[int, int], pad: Sequence[int]) -> tuple[int, int, int, int]:
    """Padding of `_spread`'s result on all four sides; it equals padding the up-sampled x by `pad` before filtering."""
    (height, width), (left, right, top, bottom) = kernel.shape, pad
    return left - width + 1, right + up[1] - width, top - height + 1, bottom + up[0] - height


def resample(
    x: Tensor, taps: Tensor, up: int = 1, down: int = 1, padding: Sequence[int] = (0, 0), gain: float = 1.0
) -> Tensor:
    """Insert zeros between samples, pad, filter, and drop samples; `resample_reference` is the slow form.

    Args:
        x: `[B, C, H, W]`.
        taps: The filter: `[K]`, applied along both axes, or `[K, K]` if the filter is not separable.
        up: Up-sampling factor; needs `down` 1 if larger than 1.
        down: Down-sampling factor; needs `up` 1 if larger than 1.
        padding: Number of zeros before and after the up-sampled x, along both axes; negative numbers crop.
        gain: Factor on the result.

    Returns:
        `[B, C, H', W']`, channels last in memory.
    """
    before, after = padding
    if taps.ndim == 1 and len(taps) >= 8:
        # A long separable filter is cheaper in two passes, one along each axis.
        x = _Resample.apply(x, taps[:, None] * gain, (up, 1), (down, 1), (0, 0, before, after))
        return _Resample.apply(x, taps[None], (1, up), (1, down), (before, after, 0, 0))
    kernel = (taps[:, None] * taps if taps.ndim == 1 else taps) * gain
    return _Resample.apply(x, kernel, (up, up), (down, down), (before, after, before, after))


def activate_reference(
    x: Tensor,
    bias: Tensor | None = None,
    noise: Tensor | None = None,
    slope: float = LEAKY_SLOPE,
    clamp: float | None = None,
) -> Tensor:
    """The slow form of `activate`: a new tensor for each operation."""
    if bias is not None:
        x = x + bias[:, None, None]
    if noise is not None:
        x = x + noise
    x = F.leaky_relu(x, slope)
    return x if clamp is None else x.clamp(-clamp, clamp)


class _Activate(torch.autograd.Function):
    # The result shows whether an input was negative or clamped, so the input need not be kept.

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bias: Tensor | None, noise: Tensor | None, slope: float, clamp: float | None
    ) -> Tensor:
        _activate_(x, bias, noise, slope, clamp)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        ctx.slope, ctx.clamp = slope, clamp
        ctx.bias = None if bias is None else bias.dtype
        ctx.noise = None if noise is None else (noise.shape, noise.dtype)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        (y,) = ctx.saved_tensors
        needs = ctx.needs_input_grad
        out = torch.empty_like(y)
        per_channel, per_pixel = [], []
        exact = torch.promote_types(y.dtype, torch.float32)
        for rows in _rows(y):
            part = out[:, :, rows]
            torch.ops.aten.leaky_relu_backward.grad_input(
                grad[:, :, rows].to(y.dtype), y[:, :, rows], ctx.slope, True, grad_input=part
            )
            if ctx.clamp is not None:
                part.masked_fill_(y[:, :, rows].abs() >= ctx.clamp, 0)
            if needs[1]:
                per_channel.append(part.sum((0, 2, 3), dtype=exact))
            if needs[2]:
                per_pixel.append(part.sum(1, keepdim=True, dtype=exact))
        grad_bias = torch.stack(per_channel).sum(0).to(ctx.bias) if needs[1] else None
        grad_noise = None
        if needs[2]:
            shape, dtype = ctx.noise
            grad_noise = torch.cat(per_pixel, 2).sum_to_size(shape).to(dtype)
        return out, grad_bias, grad_noise, None, None


def _activate_(x: Tensor, bias: Tensor | None, noise: Tensor | None, slope: float, clamp: float | None) -> Tensor:
    for rows in _rows(x):
        part = x[:, :, rows]
        if bias is not None:
            part.add_(bias.to(x.dtype)[:, None, None])
        if noise is not None:
            part.add_(noise[:, :, rows].to(x.dtype))
        F.leaky_relu_(part, slope)
        if clamp is not None:
            part.clamp_(-clamp, clamp)
    return x


def activate(
    x: Tensor,
    bias: Tensor | None = None,
    noise: Tensor | None = None,
    slope: float = LEAKY_SLOPE,
    clamp: float | None = None,
) -> Tensor:
    """Add bias and noise, apply a leaky ReLU and clamp, in place; on a CPU in one pass over memory per direction.

    Args:
        x: `[B, C, H, W]`; overwritten with the result, so the caller must not use the input afterwards.
        bias: `[C]`.
        noise: `[1, 1, H, W]` or `[B, 1, H, W]`.
        slope: Slope of the leaky ReLU for negative values.
        clamp: Largest magnitude of the result.

    Returns:
        x, overwritten with the result.
    """
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, bias, noise)):
        return _Activate.apply(x, bias, noise, slope, clamp)
    return _activate_(x, bias, noise, slope, clamp)


def _rows(x: Tensor) -> Iterator[slice]:
    """Slices of x along the height that each fit in a CPU core's cache; a single slice on other devices."""
    height = x.shape[2]
    row_bytes = x.shape[0] * x.shape[1] * x.shape[3] * x.element_size()
    step = max(1, _CACHE_BYTES // row_bytes) if x.device.type == "cpu" else height
    return (slice(start, start + step) for start in range(0, height, step))


def enlarge(x: Tensor, taps: Tensor) -> Tensor:
    """Double height and width with a low-pass filter: `[B, C, H, W]` to `[B, C, 2H, 2W]`."""
    return resample(x, taps, up=2, padding=(len(taps) // 2, len(taps) // 2 - 1), gain=4)
