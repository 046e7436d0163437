"""Numbers that pictures give, by which an edit's effect is measured; those by name are of a face's landmarks."""

from __future__ import annotations

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


def _of_landmarks(function: Callable[[np.ndarray], float]) -> Callable[[Image.Image], float]:
    """A function of landmarks `[68, 2]` as a function of the picture, whose widest face counts."""

    def of(picture: Image.Image) -> float:
        face = widest(FaceAnalyzer().detect(picture))
        if face is None:
            raise FaceError("no face is found in the picture; give one with a face from the front")
        return function(face.landmarks)

    return of


# Landmarks are whole pixels of a picture of about 1000, hence the tolerances.
MEASURES = {
    measure.name: measure
    for measure in (
        Measure("yaw", "turn", "°", 0.5, _of_landmarks(lambda landmarks: head_pose(landmarks).yaw)),
        Measure("mouth_width", "mouth's width", " of the distance between the eyes", 0.01, _of_landmarks(mouth_width)),
        Measure("mouth_openness", "gap between the lips", " of the mouth's width", 0.01, _of_landmarks(mouth_openness)),
        Measure("eye_openness", "eyes' height", " of the eyes' width", 0.005, _of_landmarks(eye_openness)),
    )
}
"""All measures by name."""
