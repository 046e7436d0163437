"""Head pose, how open eyes and mouth are, and how wide the mouth is, from landmarks."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pti_hub.errors import InputError

# A generic adult head in mm: x to the picture's right, y down, z into the picture, with the bridge of the nose as the
# origin. Widths and heights are rounded averages from anthropometry (inner eye corners 33 apart, outer ones 90, nasal
# bridge to chin 115, nose 50 long, mouth 52 wide); depths come from a typical profile. A few points suffice, if they
# spread over all three dimensions and facial expressions hardly move them.
MODEL_POINTS: dict[int, tuple[float, float, float]] = {
    27: (0.0, 0.0, 0.0),  # bridge of the nose, at eye level
    30: (0.0, 37.0, -22.0),  # tip of the nose
    33: (0.0, 49.0, -10.0),  # base of the nose
    36: (-45.0, 3.0, 22.0),  # outer and inner corners of the eyes
    39: (-16.5, 4.0, 12.0),
    42: (16.5, 4.0, 12.0),
    45: (45.0, 3.0, 22.0),
    48: (-26.0, 72.0, 8.0),  # corners of the mouth
    54: (26.0, 72.0, 8.0),
    8: (0.0, 115.0, 2.0),  # chin
}


class HeadPose(NamedTuple):
    """A head's rotation in degrees, as seen by the viewer; all 0 for a head facing the camera.

    Attributes:
        yaw: Positive where the face is turned to the picture's right side.
        pitch: Positive where the face looks up.
        roll: Positive where the head is tilted clockwise.
    """

    yaw: float
    pitch: float
    roll: float


def head_pose(landmarks: np.ndarray) -> HeadPose:
    """Estimate a head's rotation by fitting a generic head to its landmarks.

    Scaled orthography relates landmarks p_i to model points m_i: p_i = s R₂ m_i + t, where R₂ is the first two rows of
    a rotation. Least squares estimates s R₂; the singular value decomposition of the estimate gives the nearest
    rotation. With x to the right, y down and z into the picture, the rotation is R_z(roll) R_y(-yaw) R_x(-pitch).

    Args:
        landmarks: [68, 2], x and y in pixels, as in `Face.landmarks`.

    Returns:
        The angles; yaw within ±90, pitch and roll within ±180. Heads differ from the generic head, so the pitch may be
        off by ten degrees; differences between pictures of the same person are more accurate.

    Raises:
        InputError: The landmarks have another shape, are not finite, or lie in one line.
    """
    points = _check(landmarks)[list(MODEL_POINTS)]
    model = np.array(list(MODEL_POINTS.values()))
    points = points - points.mean(axis=0)  # [10, 2]
    model = model - model.mean(axis=0)  # [10, 3]
    scaled_rows = np.linalg.lstsq(model, points, rcond=None)[0].T  # s R₂, [2, 3]
    u, s, vt = np.linalg.svd(scaled_rows, full_matrices=False)
    if s[1] <= 1e-6 * s[0]:
        raise InputError("the landmarks lie in one line; they belong to no face")
    x, y = u @ vt
    z = np.cross(x, y)
    # The angles from entries of R, for the order of rotations in the docstring.
    yaw = math.asin(min(1.0, max(-1.0, z[0])))
    pitch = math.atan2(-z[1], z[2])
    roll = math.atan2(y[0], x[0])
    return HeadPose(math.degrees(yaw), math.degrees(pitch), math.degrees(roll))


def eye_openness(landmarks: np.ndarray) -> float:
    """How far the eyes are open: the eye aspect ratio of Soukupová and Čech (2016).

    Args:
        landmarks: [68, 2], x and y in pixels, as in `Face.landmarks`.

    Returns:
        Height divided by width, averaged over both eyes: about 0.1 for closed eyes, 0.3 for open ones.

    Raises:
        InputError: The landmarks have another shape, are not finite, or give the eyes no width.
    """
    points = _check(landmarks)
    ratios = []
    for first in (36, 42):
        p = points[first : first + 6]
        height = (_distance(p[1], p[5]) + _distance(p[2], p[4])) / 2
        ratios.append(_ratio(height, _distance(p[0], p[3]), "eyes"))
    return sum(ratios) / 2


def mouth_openness(landmarks: np.ndarray) -> float:
    """How far the mouth is open: the gap between the lips divided by the mouth's width.

    Args:
        landmarks: [68, 2], x and y in pixels, as in `Face.landmarks`.

    Returns:
        About 0 for a closed mouth, 0.2 for one that shows teeth, above 0.5 for one wide open.

    Raises:
        InputError: The landmarks have another shape, are not finite, or give the mouth no width.
    """
    points = _check(landmarks)
    return _ratio(_distance(points[62], points[66]), _distance(points[48], points[54]), "mouth")


def mouth_width(landmarks: np.ndarray) -> float:
    """How wide the mouth is: the distance of its corners divided by the distance of the eyes' centres.

    Args:
        landmarks: [68, 2], x and y in pixels, as in `Face.landmarks`.

    Returns:
        About 0.8 for a mouth at rest, above 1 for a broad smile.

    Raises:
        InputError: The landmarks have another shape, are not finite, or have the eyes in one place.
    """
    points = _check(landmarks)
    left, right = (points[first : first + 6].mean(axis=0) for first in (36, 42))
    return _ratio(_distance(points[48], points[54]), _distance(left, right), "eyes")


def _check(landmarks: np.ndarray) -> np.ndarray:
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise InputError(f"landmarks of shape {list(points.shape)} were given; expected finite numbers, [68, 2]")
    return points


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return math.dist(a, b)


def _ratio(height: float, width: float, part: str) -> float:
    if width == 0:
        raise InputError(f"the landmarks' {part} have no width; they belong to no face")
    return height / width
