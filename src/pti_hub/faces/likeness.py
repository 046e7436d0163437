"""Whether a picture shows the face of a photograph: what a tuner asks."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from pti_hub.faces.detector import Face
from pti_hub.faces.identity import embedding, identity_distance
from pti_hub.faces.importance import face_importance
from pti_hub.images import to_pil


class Likeness:
    """The face of an aligned photograph: where it is, and who it is.

    Args:
        photograph: The aligned photograph, `[1, 3, R, R]` in [-1, 1].
        landmarks: [68, 2], x and y as shares of the side.

    Attributes:
        importance: How much each place counts `[1, 1, R, R]`; see `face_importance`.
    """

    def __init__(self, photograph: Tensor, landmarks: np.ndarray) -> None:
        self._photograph, self._landmarks = photograph, landmarks
        importance = torch.from_numpy(face_importance(landmarks, photograph.shape[-1]))
        self.importance: Tensor = importance[None, None].to(photograph.device)

    def distance(self, picture: Tensor) -> float:
        """Distance of dlib's embeddings, of the photograph's face and of the face at the same place in a picture.

        Args:
            picture: `[1, 3, R, R]` in [-1, 1].

        Raises:
            MissingDependencyError: dlib is not installed.
            WeightsError: dlib's model is missing or damaged.
        """
        return identity_distance(self._original, self._embedding(picture))

    @functools.cached_property
    def _original(self) -> np.ndarray:
        return self._embedding(self._photograph)

    def _embedding(self, picture: Tensor) -> np.ndarray:
        points = self._landmarks * picture.shape[-1] - 0.5
        (left, top), (right, bottom) = np.rint(points.min(0)).astype(int), np.rint(points.max(0)).astype(int)
        return embedding(to_pil(picture)[0], Face((int(left), int(top), int(right), int(bottom)), points, 0.0))
