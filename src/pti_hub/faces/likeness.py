"""Whether a picture shows the face of a photograph: what a tuner asks."""

from __future__ import annotations

import functools

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pti_hub.faces.detector import Face
from pti_hub.faces.identity import embedding, identity_distance
from pti_hub.faces.importance import face_importance
from pti_hub.images import to_pil


class Likeness:
    """The face of an aligned photograph: where it is, and who it is.

    Args:
        photograph: The aligned photograph, mode RGB, square.
        landmarks: [68, 2], x and y as shares of the side.
        size: R, height and width of the pictures to compare, in pixels.
        device: Where these pictures are.

    Attributes:
        importance: How much each place counts `[1, 1, R, R]`; see `face_importance`.
    """

    def __init__(self, photograph: Image.Image, landmarks: np.ndarray, size: int, device: torch.device) -> None:
        self._photograph, self._landmarks = photograph, landmarks
        self.importance: Tensor = torch.from_numpy(face_importance(landmarks, size))[None, None].to(device)

    def distance(self, picture: Tensor) -> float:
        """Distance of dlib's embeddings, of the photograph's face and of the face at the same place in a picture.

        Args:
            picture: `[1, 3, R, R]` in [-1, 1].

        Raises:
            MissingDependencyError: dlib is not installed.
            WeightsError: dlib's model is missing or damaged.
        """
        return identity_distance(self._original, self._embedding(to_pil(picture)[0]))

    @functools.cached_property
    def _original(self) -> np.ndarray:
        return self._embedding(self._photograph)

    def _embedding(self, picture: Image.Image) -> np.ndarray:
        points = self._landmarks * picture.width - 0.5
        (left, top), (right, bottom) = np.rint(points.min(0)).astype(int), np.rint(points.max(0)).astype(int)
        return embedding(picture, Face((int(left), int(top), int(right), int(bottom)), points, 0.0))
