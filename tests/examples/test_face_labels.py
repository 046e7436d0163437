"""Labels of faces."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from pti_hub.faces import eye_openness, mouth_openness


def face_labels() -> Any:
    """The module that labels faces."""
    return importlib.import_module("face_labels")


def test_mirror_image_of_landmarks() -> None:
    landmarks = np.random.default_rng(0).uniform(0, 511, (68, 2))
    mirrored = face_labels().mirror_landmarks(landmarks, 512)
    np.testing.assert_allclose(face_labels().mirror_landmarks(mirrored, 512), landmarks)
    # Corners of the eyes and the mouth, tip of the nose.
    for here, there in ((36, 45), (39, 42), (48, 54), (60, 64), (30, 30)):
        np.testing.assert_allclose(mirrored[there], (511 - landmarks[here, 0], landmarks[here, 1]))
    assert mouth_openness(mirrored) == pytest.approx(mouth_openness(landmarks))
    assert eye_openness(mirrored) == pytest.approx(eye_openness(landmarks))
