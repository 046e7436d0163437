"""A real photograph, and the face in it."""

from __future__ import annotations

import pytest
from PIL import Image

from pti_hub.faces import Face, FaceAnalyzer, select
from pti_hub.images import load_image


@pytest.fixture(scope="session")
def astronaut() -> Image.Image:
    """Eileen Collins, 512² px, smiling at the camera."""
    data = pytest.importorskip("skimage.data", reason="scikit-image holds the test photograph")
    return load_image(data.astronaut())


@pytest.fixture(scope="session")
def astronaut_face(astronaut: Image.Image) -> Face:
    """Hers."""
    return select(FaceAnalyzer().detect(astronaut))
