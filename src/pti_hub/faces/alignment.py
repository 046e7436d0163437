"""Cut a face out as in the FFHQ dataset (Karras et al. 2019).

A generator trained on FFHQ has only seen eyes and mouths at fixed places, so a photograph has to be cropped in the same
way first: to a square that is rotated with the head and whose size follows from the distances between eyes and mouth.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pti_hub.errors import FaceError, InputError

_SUPERSAMPLING = 4

ALIGNED_TOLERANCE = 0.06
"""Largest distance between the crop's corners and the picture's corners that still counts as aligned, as a share of the
picture's side.

Pictures of FFHQ and of CelebA-HQ, which is cropped slightly differently, stay below; the landmarks' noise is 0.02."""


def crop_quad(landmarks: np.ndarray) -> np.ndarray:
    """The square that FFHQ's alignment cuts out.

    Args:
        landmarks: [68, 2], x and y in pixels, as in `Face.landmarks`.

    Returns:
        float64 [4, 2]: the corners top left, bottom left, bottom right and top right, in the landmarks' coordinates.
        Corners may lie outside the picture. In these coordinates whole numbers are pixel centres; Pillow counts from
        pixel edges, so add 0.5 for Pillow's transforms.

    Raises:
        InputError: The landmarks have another shape, are not finite, or lie in one point.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise InputError(f"landmarks of shape {list(points.shape)} were given; expected finite numbers, [68, 2]")
    left_eye, right_eye = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    eyes = (left_eye + right_eye) / 2
    eye_to_eye = right_eye - left_eye
    eye_to_mouth = (points[48] + points[54]) / 2 - eyes

    # Both vectors show how the head is tilted; the difference, with one turned by 90°, averages the two tilts.
    across = eye_to_eye - _quarter_turn(eye_to_mouth)
    length = math.hypot(*across)
    half_side = max(2.0 * math.hypot(*eye_to_eye), 1.8 * math.hypot(*eye_to_mouth))
    if length < 1e-6 or half_side < 1.0:
        raise InputError("the landmarks' eyes and mouth lie in one point; they belong to no face")
    across *= half_side / length
    down = _quarter_turn(across)
    centre = eyes + 0.1 * eye_to_mouth
    return np.stack(
        [
            centre - across - down,
            centre - across + down,
            centre + across + down,
            centre + across - down,
        ]
    )


def align(image: Image.Image, landmarks: np.ndarray, size: int = 1024) -> Image.Image:
    """Cut out the face as in FFHQ.

    Where the square reaches beyond the photograph, mirrored pixels continue the photograph. The farther out they are,
    the more they are blurred and faded to the median colour.

    Args:
        image: A picture of mode RGB.
        landmarks: [68, 2], in pixels of `image`, as in `Face.landmarks`.
        size: Height and width of the result, in pixels.

    Returns:
        The face, mode RGB, `size` by `size`.

    Raises:
        InputError: The landmarks are unusable; see `crop_quad`.
        FaceError: The centre of the face lies outside the picture.
    """
    quad = crop_quad(landmarks)
    centre = quad.mean(axis=0)
    if (centre < 0).any() or (centre > np.array(image.size) - 1).any():
        x, y = centre
        raise FaceError(
            f"the face's centre ({x:.0f}, {y:.0f}) lies outside the picture of "
            f"{image.width}×{image.height} px; give landmarks found in this picture"
        )

    # The final transform samples single points, so a large photograph is shrunk first to avoid aliasing.
    shrink = math.floor(_side(quad) / size * 0.5)
    if shrink > 1:
        smaller = [max(1, round(side / shrink)) for side in image.size]
        image = image.resize((smaller[0], smaller[1]), Image.Resampling.LANCZOS)
        quad = quad / shrink

    image, quad = _crop(image, quad)
    image, quad = _pad(image, quad)
    large = size * _SUPERSAMPLING
    corners = tuple((quad + 0.5).flatten())
    image = image.transform((large, large), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def is_aligned(image: Image.Image, landmarks: np.ndarray, size: int = 1024) -> bool:
    """Whether a picture is already cut out as in FFHQ, so that aligning it would only soften it.

    Args:
        image: The picture.
        landmarks: [68, 2], in pixels of `image`, as in `Face.landmarks`.
        size: Height and width that the caller needs, in pixels.

    Returns:
        True for a square picture of at least `size` pixels whose corners agree with `crop_quad`, within
        `ALIGNED_TOLERANCE`.
    """
    side = image.width
    if image.height != side or side < size:
        return False
    corners = np.array([[0, 0], [0, side], [side, side], [side, 0]]) - 0.5  # [4, 2]
    offsets = np.linalg.norm(crop_quad(landmarks) - corners, axis=1)
    return bool(offsets.max() <= ALIGNED_TOLERANCE * side)


def _crop(image: Image.Image, quad: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    border = max(round(_side(quad) * 0.1), 3)
    left, top = np.maximum(np.floor(quad.min(axis=0)).astype(int) - border, 0).tolist()
    right, bottom = np.minimum(np.ceil(quad.max(axis=0)).astype(int) + border, image.size).tolist()
    return image.crop((left, top, right, bottom)), quad - np.array([left, top])


def _pad(image: Image.Image, quad: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    side = _side(quad)
    border = max(round(side * 0.1), 3)
    before = np.maximum(border - np.floor(quad.min(axis=0)), 0)
    after = np.maximum(np.ceil(quad.max(axis=0)) - image.size + border, 0)
    # No padding is needed if all corners stay at least four pixels inside the edges.
    if max(before.max(), after.max()) <= border - 4:
        return image, quad

    # A minimum padding on every side leaves room for a gradual fade.
    minimum = round(side * 0.3)
    left, top = np.maximum(before, minimum).astype(int).tolist()
    right, bottom = np.maximum(after, minimum).astype(int).tolist()
    padded = np.pad(np.asarray(image), ((top, bottom), (left, right), (0, 0)), "reflect")

    # 0 at the photograph's edge, 1 at the padding's outer edge, negative inside the photograph.
    outside = np.maximum(
        _outside(padded.shape[0], top, bottom)[:, None],
        _outside(padded.shape[1], left, right)[None, :],
    )[..., None]  # [H, W, 1]
    blurred = np.asarray(Image.fromarray(padded).filter(ImageFilter.GaussianBlur(side * 0.02)), dtype=np.float32)
    pixels = padded.astype(np.float32)
    # The blur starts slightly inside the photograph, so that no seam is visible at the edge.
    pixels += (blurred - pixels) * np.clip(3 * outside + 1, 0, 1)
    pixels += (np.median(pixels, axis=(0, 1)) - pixels) * np.clip(outside, 0, 1)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)), quad + np.array([left, top])


def _outside(length: int, before: int, after: int) -> np.ndarray:
    positions = np.arange(length, dtype=np.float32)
    return 1 - np.minimum(positions / before, (length - 1 - positions) / after)


def _quarter_turn(vector: np.ndarray) -> np.ndarray:
    return np.array([-vector[1], vector[0]])


def _side(quad: np.ndarray) -> float:
    return math.dist(quad[0], quad[1])


def ellipse(side: int, centre: tuple[float, float], axes: tuple[float, float]) -> NDArray[np.bool_]:
    """The inside of an ellipse in an aligned picture `[side, side]`; FFHQ puts every face at the same place.

    Args:
        side: Height and width, in pixels.
        centre: x and y of the centre, as shares of the side.
        axes: Half axes along x and y, as shares of the side.
    """
    places = (np.arange(side) + 0.5) / side
    (x, y), (width, height) = centre, axes
    inside: NDArray[np.bool_] = np.hypot((places - x) / width, (places[:, None] - y) / height) < 1
    return inside
