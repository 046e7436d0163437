"""Landmarks that are finer than dlib's whole pixels: averaged over boxes and the mirror image."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pti_hub.faces.detector import Box, import_dlib, load_model

MARGINS = (-0.04, 0.0, 0.04)  # added around a face's box, as shares of the box's width
ENLARGE = 2
# The landmark at the mirrored place of each of the 68 landmarks: jaw, brows, nose, eyes, outer and inner lips.
MIRROR = [
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *range(54, 47, -1),
    *range(59, 54, -1),
    *range(64, 59, -1),
    *range(67, 64, -1),
]


def jittered(box: Box) -> list[Box]:
    """A face's box in three sizes: smaller, unchanged and larger."""
    left, top, right, bottom = box
    margins = (round(share * (right - left)) for share in MARGINS)
    return [(left - margin, top - margin, right + margin, bottom + margin) for margin in margins]


def find_landmarks(large: Image.Image, box: Box) -> np.ndarray:
    """Landmarks [68, 2] of the face in a box of the picture; `large` is the picture, enlarged `ENLARGE` times."""
    left, top, right, bottom = (ENLARGE * edge for edge in box)
    rectangle = import_dlib().rectangle(left, top, right - 1, bottom - 1)
    points = [(point.x, point.y) for point in load_model("shape_predictor")(np.asarray(large), rectangle).parts()]
    # Whole numbers are pixel centres.
    landmarks: np.ndarray = (np.array(points) + 0.5) / ENLARGE - 0.5
    return landmarks


def mirror_landmarks(landmarks: np.ndarray, width: int) -> np.ndarray:
    """Landmarks [68, 2] in the mirror image of a picture, where left and right eye are exchanged."""
    mirrored: np.ndarray = (landmarks * (-1, 1) + (width - 1, 0))[MIRROR]
    return mirrored
