"""Numbers that pictures give, by which an edit's effect is measured; those by name are of faces."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from pti_hub.errors import FaceError
from pti_hub.faces.attributes import RESOLUTION, attributes, require_alexnet, shipped_attributes
from pti_hub.faces.detector import FaceAnalyzer, widest
from pti_hub.faces.pose import eye_openness, head_pose, mouth_openness, mouth_width
from pti_hub.images import to_tensor
from pti_hub.perceptual import LPIPS


def _needs_nothing(perceptual: LPIPS) -> None:
    pass


@dataclass(frozen=True)
class Measure:
    """A number that a picture gives.

    Args:
        name: Its name.
        title: What is measured, in words.
        unit: What follows the number in a message.
        tolerance: Smallest difference that counts.
        of: The number of a picture, which the pipeline's LPIPS network may help to find; raises `FaceError` where there
            is no face to measure.
        check: Raises the package's own error where nothing can be measured, for want of dlib or of the right LPIPS
            network.
        resolution: Height and width in pixels of the picture that is enough; the full size where it is `None`.
        lowest: Least number that means anything: no glasses can't be taken off.
        highest: Largest such number.
        jumps: Whether the number stands for a thing that is there or not, such as glasses: there is no half of it.
    """

    name: str
    title: str
    unit: str
    tolerance: float
    of: Callable[[Image.Image, LPIPS], float]
    check: Callable[[LPIPS], None] = _needs_nothing
    resolution: int | None = None
    lowest: float = -math.inf
    highest: float = math.inf
    jumps: bool = False

    def room(self, number: float, sign: int) -> float:
        """How far a number can rise (`sign` 1) or fall (-1).

        Args:
            number: What was measured.
            sign: 1 or -1.
        """
        return max(0.0, self.highest - number if sign > 0 else number - self.lowest)


def _of_landmarks(function: Callable[[np.ndarray], float], picture: Image.Image, perceptual: LPIPS) -> float:
    """A function of landmarks `[68, 2]`, of the widest face in a picture."""
    face = widest(FaceAnalyzer().detect(picture))
    if face is None:
        raise FaceError("no face is found in the picture; give one with a face from the front")
    return function(face.landmarks)


def _needs_landmarks(perceptual: LPIPS) -> None:
    FaceAnalyzer()


@torch.no_grad()
def _of_attributes(name: str, picture: Image.Image, perceptual: LPIPS) -> float:
    return attributes(perceptual, to_tensor(picture).to(perceptual.mean.device), [name]).item()


def _yaw(landmarks: np.ndarray) -> float:
    return head_pose(landmarks).yaw


def _pitch(landmarks: np.ndarray) -> float:
    return head_pose(landmarks).pitch


# Landmarks are whole pixels of a picture of about 1000, hence the tolerances.
_OF_LANDMARKS = [
    Measure(name, title, unit, tolerance, functools.partial(_of_landmarks, function), _needs_landmarks)
    for name, title, unit, tolerance, function in (
        ("yaw", "turn", "°", 0.5, _yaw),
        ("pitch", "nod", "°", 0.5, _pitch),
        ("mouth_width", "mouth's width", " of the distance between the eyes", 0.01, mouth_width),
        ("mouth_openness", "gap between the lips", " of the mouth's width", 0.01, mouth_openness),
        ("eye_openness", "eyes' height", " of the eyes' width", 0.005, eye_openness),
    )
]
_OF_ATTRIBUTES = [
    Measure(
        name,
        entry["title"],
        entry["unit"],
        entry["tolerance"],
        functools.partial(_of_attributes, name),
        require_alexnet,
        RESOLUTION,
        entry.get("lowest", -math.inf),
        entry.get("highest", math.inf),
        entry.get("jumps", False),
    )
    for name, entry in shipped_attributes().items()
]
# Landmarks say it more exactly where they say it at all.
MEASURES = {measure.name: measure for measure in (*_OF_ATTRIBUTES, *_OF_LANDMARKS)}
"""All measures by name: of landmarks, and the attributes of `pti_hub.faces.attributes`."""
