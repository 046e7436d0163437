"""Labels of faces."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

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


def test_a_smile_counts_against_anger_and_not_against_surprise() -> None:
    labels = face_labels()
    names = list(labels.EXPRESSION_LABELS)
    joy = labels.EXPRESSIONS.index("happy")
    calm = torch.zeros(7)
    smiling = calm.clone()
    smiling[joy] = 5.0
    before, after = (dict(zip(names, labels.expression_labels(logits), strict=True)) for logits in (calm, smiling))
    assert after["smile"] == pytest.approx(before["smile"] + 5)
    assert after["angry"] == pytest.approx(before["angry"] - 2)
    assert after["surprised"] == before["surprised"]


def test_colour_of_the_skin() -> None:
    points = np.random.default_rng(0).uniform(100, 300, (68, 2))
    pictures = [Image.new("RGB", (512, 512), colour) for colour in ((200, 150, 100), (100, 75, 50), (128, 128, 128))]
    found = [face_labels().skin_colour(picture, points) for picture in pictures]
    assert found[0][0] == pytest.approx(150 / 255)
    assert found[0][1] == pytest.approx(found[1][1]) == pytest.approx(2 / 3)
    assert found[1][0] == pytest.approx(found[0][0] / 2)
    assert found[2] == pytest.approx((128 / 255, 0))
