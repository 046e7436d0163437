"""Whether a picture shows the face of a photograph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pti_hub.faces import FaceAnalyzer, Likeness
from pti_hub.images import to_tensor

skimage_data = pytest.importorskip("skimage.data")


@pytest.fixture(scope="module")
def face() -> tuple[Image.Image, np.ndarray]:
    """An aligned astronaut of 256 px, and her landmarks as shares of the side."""
    from pti_hub.faces import align

    photograph = Image.fromarray(skimage_data.astronaut())
    found = FaceAnalyzer().detect(photograph)[0]
    picture = align(photograph, found.landmarks, 256)
    (aligned,) = FaceAnalyzer().detect(picture)
    return picture, (aligned.landmarks + 0.5) / 256


def test_the_face_itself_is_at_no_distance(face: tuple[Image.Image, np.ndarray]) -> None:
    likeness = Likeness(to_tensor(face[0]), face[1])
    assert likeness.distance(to_tensor(face[0])) == 0
    assert likeness.importance.shape == (1, 1, 256, 256)


def test_a_face_that_changes_is_farther(face: tuple[Image.Image, np.ndarray]) -> None:
    likeness = Likeness(to_tensor(face[0]), face[1])
    x = to_tensor(face[0])
    soft = torch.nn.functional.avg_pool2d(x, 9, 1, 4)
    assert 0.02 < likeness.distance(soft) < likeness.distance(0.3 * soft + 0.7 * torch.randn_like(soft))
    dark = 0.3 * x - 0.7
    assert likeness.distance(0.9 * x) < likeness.distance(dark)
