"""Where an aligned picture matters."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pti_hub.faces import face_importance


def landmarks() -> np.ndarray:
    """A rough face: jaw on an ellipse, brows, nose, eyes and mouth inside."""
    angles = np.linspace(0, np.pi, 17)
    jaw = np.stack([0.5 - 0.25 * np.cos(angles), 0.5 + 0.38 * np.sin(angles)], 1)
    brows = np.stack([np.linspace(0.32, 0.68, 10), np.full(10, 0.42)], 1)
    nose = np.full((9, 2), (0.5, 0.6))
    eyes = np.stack([np.linspace(0.36, 0.64, 12), np.full(12, 0.48)], 1)
    mouth = np.stack([np.linspace(0.42, 0.58, 20), np.full(20, 0.72)], 1)
    return np.concatenate([jaw, brows, nose, eyes, mouth])


def at(places: np.ndarray, x: float, y: float) -> float:
    return float(places[int(y * len(places)), int(x * len(places))])


def test_the_face_counts_most_and_the_background_least() -> None:
    places = face_importance(landmarks(), 512)
    assert places.shape == (512, 512) and places.dtype == np.float32
    face = [at(places, *p) for p in ((0.5, 0.6), (0.4, 0.5), (0.5, 0.8), (0.5, 0.3))]
    assert min(face) > 0.99  # the forehead, too, which has no landmarks
    assert at(places, 0.01, 0.01) == at(places, 0.99, 0.01) == 0.25
    assert 0.3 < at(places, 0.5, 0.12) < 0.9  # hair
    assert places.min() == 0.25 and places.max() == 1


def test_it_moves_with_the_face() -> None:
    moved = face_importance(landmarks() + np.array([0.125, 0]), 256)
    np.testing.assert_allclose(moved[:, 96:], face_importance(landmarks(), 256)[:, 64:-32], atol=0.02)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_any_place_has_some_importance(x: float, y: float) -> None:
    places = face_importance(landmarks() + np.array([x, y]), 64)
    assert places.min() >= 0.25 and places.max() <= 1
