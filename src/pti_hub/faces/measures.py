"""Numbers that landmarks give, by name: by these an edit's effect is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pti_hub.faces.pose import eye_openness, head_pose, mouth_openness, mouth_width


@dataclass(frozen=True)
class Measure:
    """A number that landmarks `[68, 2]` give.

    Args:
        name: Its name.
        title: What is measured, in words.
        unit: What follows the number in a message.
        tolerance: Smallest difference that counts; landmarks are whole pixels of a picture of about 1000.
        of: The number.
    """

    name: str
    title: str
    unit: str
    tolerance: float
    of: Callable[[np.ndarray], float]


MEASURES = {
    measure.name: measure
    for measure in (
        Measure("yaw", "turn", "°", 0.5, lambda landmarks: head_pose(landmarks).yaw),
        Measure("mouth_width", "mouth's width", " of the distance between the eyes", 0.01, mouth_width),
        Measure("mouth_openness", "gap between the lips", " of the mouth's width", 0.01, mouth_openness),
        Measure("eye_openness", "eyes' height", " of the eyes' width", 0.005, eye_openness),
    )
}
"""All measures by name."""
