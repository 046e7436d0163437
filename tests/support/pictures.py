"""Pictures that are the same on every machine, and what of them is compared."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def pattern(width: int = 24, height: int = 16) -> Image.Image:
    """A picture that no flip or turn maps onto itself."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def smooth_picture(width: int, height: int) -> Image.Image:
    """A picture without a face or a sharp edge."""
    y, x = np.mgrid[:height, :width]
    waves = [
        128 + 100 * np.sin(x / 19),
        128 + 100 * np.cos(y / 17),
        128 + 50 * np.sin((x + y) / 23),
    ]
    return Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))


def waves(height: int, width: int, phase: float = 0.0) -> Tensor:
    """A picture [1, 3, H, W] that is the same on every machine, in [-1, 1]."""
    y = torch.linspace(0, 1, height, dtype=torch.float64).view(-1, 1)
    x = torch.linspace(0, 1, width, dtype=torch.float64).view(1, -1)
    colours = [
        torch.sin(2 * math.pi * (3 * x + 5 * y * y) + phase),
        torch.cos(2 * math.pi * (7 * x * y + 2 * x)) * torch.cos(9 * y - phase),
        torch.tanh(8 * (x - y) + torch.sin(40 * x + phase)),
    ]
    return torch.stack(colours).float().unsqueeze(0)


def same(a: Image.Image, b: Image.Image) -> bool:
    """Whether two pictures are equal in size, mode and every byte."""
    return a.size == b.size and a.mode == b.mode and a.tobytes() == b.tobytes()


def same_pictures(a: list[Image.Image], b: list[Image.Image]) -> bool:
    """Whether pictures are equal one by one."""
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(a, b, strict=True))


def pixel(image: Image.Image) -> tuple[int, ...]:
    """The colour of the upper left corner."""
    assert image.mode == "RGB"
    return tuple(np.asarray(image)[0, 0].tolist())


def pixels(image: Image.Image) -> np.ndarray:
    """All colours, `[H, W, 3]`."""
    return np.asarray(image)
