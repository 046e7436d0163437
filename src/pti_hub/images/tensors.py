"""Conversion of pictures to tensors and back."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from pti_hub.errors import ImageError


def to_tensor(image: Image.Image, size: int | None = None) -> torch.Tensor:
    """Convert a picture to a tensor.

    Args:
        image: A picture of mode RGB.
        size: Height and width in pixels to resize a square picture to (Lanczos); `None` keeps the size.

    Returns:
        float32 [1, 3, H, W] in [-1, 1], where black is -1 and white 1.

    Raises:
        ImageError: The picture is not RGB, or `size` is given and the picture is not square.
    """
    require_rgb(image)
    if size is not None and image.size != (size, size):
        if image.width != image.height:
            raise ImageError(
                f"a picture of {image.width}×{image.height} px can't be resized to {size}×{size} "
                "without distortion; align or crop it to a square first"
            )
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(image, dtype=np.float32))
    return pixels.permute(2, 0, 1)[None].contiguous() / 127.5 - 1


def to_pil(images: torch.Tensor) -> list[Image.Image]:
    """Convert a tensor to pictures; the exact inverse of `to_tensor`.

    Args:
        images: Floats [B, 3, H, W]. Values outside [-1, 1], which generators do produce, are clamped.

    Returns:
        B pictures of mode RGB.

    Raises:
        ImageError: The tensor has another shape or type, or holds NaN or infinite values.
    """
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        raise ImageError(f"a tensor of shape {list(images.shape)} is no batch of pictures; give [B, 3, H, W]")
    if not images.is_floating_point():
        raise ImageError(f"a tensor of {images.dtype} is no picture; expected floats in [-1, 1]")
    values = images.detach().to("cpu", torch.float32)
    if not bool(torch.isfinite(values).all()):
        raise ImageError("the tensor holds NaN or infinite values; expected floats in [-1, 1]")
    pixels = (values * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
    return [Image.fromarray(p) for p in pixels.permute(0, 2, 3, 1).contiguous().numpy()]


def require_rgb(image: Image.Image) -> None:
    """Check that a picture is RGB.

    Raises:
        ImageError: The picture has another mode.
    """
    if image.mode != "RGB":
        raise ImageError(f"a picture of mode {image.mode} was given, expected RGB; use load_image first")
