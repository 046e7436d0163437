"""Numbers that pictures give, by which an edit's effect is measured; those by name are of a face's landmarks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pti_hub.errors import FaceError
from pti_hub.faces.detector import FaceAnalyzer, widest
from pti_hub.faces.pose import eye_openness, head_pose, mouth_openness, mouth_width


@dataclass(frozen=True)
class Measure:
    """A number that a picture gives.

    Args:
        name: Its name.
        title: What is measured, in words.
        unit: What follows the number in a message.
        tolerance: Smallest difference that counts.
        of: The number of a picture; raises `FaceError` where there is no face to measure.
        needs_face: Whether a face has to be found in the picture.
    """

    name: str
    title: str
    unit: str
    tolerance: float
    of: Callable[[Image.Image], float]
    needs_face: bool = True


def _of_landmarks(function: Callable[[np.ndarray], float], picture: Image.Image) -> float:
    """A function of landmarks `[68, 2]`, of the widest face in a picture."""
    face = widest(FaceAnalyzer().detect(picture))
    if face is None:
        raise FaceError("no face is found in the picture; give one with a face from the front")
    return function(face.landmarks)


def _yaw(landmarks: np.ndarray) -> float:
    return head_pose(landmarks).yaw


# Landmarks are whole pixels of a picture of about 1000, hence the tolerances.
MEASURES = {
    name: Measure(name, title, unit, tolerance, functools.partial(_of_landmarks, function))
    for name, title, unit, tolerance, function in (
        ("yaw", "turn", "°", 0.5, _yaw),
        ("mouth_width", "mouth's width", " of the distance between the eyes", 0.01, mouth_width),
        ("mouth_openness", "gap between the lips", " of the mouth's width", 0.01, mouth_openness),
        ("eye_openness", "eyes' height", " of the eyes' width", 0.005, eye_openness),
    )
}
"""All measures by name."""
