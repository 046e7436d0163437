"""Faces as the networks of `@vladmandic/face-api` expect them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from pti_hub.errors import InputError

SIZE = 112  # height and width of the networks' input, in pixels


def to_images(faces: Sequence[Image.Image]) -> Tensor:
    """Convert face crops to the networks' input: [B, 3, 112, 112], RGB in [-1, 1].

    Raises:
        InputError: `faces` is empty, or a face has another size.
    """
    if not faces or any(face.size != (SIZE, SIZE) for face in faces):
        sizes = [face.size for face in faces]
        raise InputError(
            f"got faces of sizes {sizes}, expected one or more of {(SIZE, SIZE)}; cut them out with face_crop"
        )
    pixels = np.stack([np.asarray(face.convert("RGB"), dtype=np.float32) for face in faces])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


def face_crop(image: Image.Image, landmarks: np.ndarray) -> Image.Image:
    """Cut a face out as the networks expect.

    The crop is the landmarks' bounding box, enlarged by a tenth on every side, limited to the picture, and padded with
    black to a square.

    Args:
        image: The photograph, of any size and any mode that converts to RGB.
        landmarks: dlib's landmarks [68, 2], x and y in pixels of the image.

    Returns:
        The face, mode RGB, 112x112 pixels.

    Raises:
        InputError: The landmarks have another shape, aren't finite, lie outside the picture, or along a line.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise InputError(
            f"got landmarks of shape {list(points.shape)}, expected [68, 2] finite x, y in pixels; "
            "take them from dlib's shape predictor"
        )
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.1 * (high - low)
    left, top = (int(v) for v in np.maximum(low - margin, 0))
    right, bottom = (int(v) for v in np.minimum(high + margin, image.size))
    short, long = sorted((right - left, bottom - top))
    # A strip that would be no pixel wide is no face either.
    if SIZE * short <= long:
        raise InputError(
            f"got landmarks in x {low[0]:.0f} to {high[0]:.0f}, y {low[1]:.0f} to {high[1]:.0f}, "
            f"expected them to span part of the {image.width}x{image.height} picture; "
            "give the picture that the landmarks were found in"
        )
    face = image.crop((left, top, right, bottom)).convert("RGB")
    return ImageOps.pad(face, (SIZE, SIZE), Image.Resampling.BILINEAR)
