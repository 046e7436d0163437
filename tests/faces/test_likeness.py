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
    likeness = Likeness(*face, 256, torch.device("cpu"))
    assert likeness.distance(to_tensor(face[0])) == 0
    assert likeness.importance.shape == (1, 1, 256, 256)


def test_a_face_that_changes_is_farther(face: tuple[Image.Image, np.ndarray]) -> None:
    likeness = Likeness(*face, 256, torch.device("cpu"))
    x = to_tensor(face[0])
    soft = torch.nn.functional.avg_pool2d(x, 9, 1, 4)
    mirrored_colours = x.flip(1)
    assert 0.02 < likeness.distance(soft) < likeness.distance(0.3 * soft + 0.7 * torch.randn_like(soft))
    assert likeness.distance(mirrored_colours) > 0.02


def test_a_larger_photograph_is_compared_at_the_same_places(face: tuple[Image.Image, np.ndarray]) -> None:
    large = face[0].resize((512, 512), Image.Resampling.BICUBIC)
    likeness = Likeness(large, face[1], 256, torch.device("cpu"))
    assert likeness.distance(to_tensor(face[0])) < 0.1
