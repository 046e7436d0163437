"""Where an aligned picture matters: the face most, hair and neck less, the background least."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Height and width, in pixels, at which the map is drawn.
_SMALL = 256
# Landmarks (Sagonas et al. 2016) of the brows, the eyes and the mouth.
_BROWS, _EYES, _MOUTH = slice(17, 27), slice(36, 48), slice(48, 68)
# Height of the forehead above the brows, as a share of the distance from eyes to mouth; there are no landmarks on it.
_FOREHEAD = 0.7
# Importance of hair and neck, and of the background; the face's is 1.
_HAIR, _BACKGROUND = 0.5, 0.25
# Distances from the face, as shares of the side: up to where it counts fully, from where on as hair, and from where on
# as background.
_FULLY, _AS_HAIR, _AS_BACKGROUND = 0.02, 0.09, 0.24


def face_importance(landmarks: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """How much each place of an aligned picture counts.

    Args:
        landmarks: [68, 2], x and y as shares of the picture's side, in the order of `Face.landmarks`.
        size: Height and width of the result, in pixels.

    Returns:
        [size, size], 1 on the face, falling to 0.25 on the background.
    """
    eyes, mouth = landmarks[_EYES].mean(0), landmarks[_MOUTH].mean(0)
    points = np.concatenate([landmarks, landmarks[_BROWS] - _FOREHEAD * (mouth - eyes)])
    hull = cv2.convexHull(np.rint(points * _SMALL - 0.5).astype(np.int32))
    face = cv2.fillConvexPoly(np.zeros((_SMALL, _SMALL), np.uint8), hull, 1)
    if not face.any():
        return np.ones((size, size), np.float32)
    distance = cv2.distanceTransform(1 - face, cv2.DIST_L2, 5) / _SMALL
    levels = np.interp(distance, (_FULLY, _AS_HAIR, _AS_BACKGROUND), (1, _HAIR, _BACKGROUND))
    return cv2.resize(levels, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.float32)
