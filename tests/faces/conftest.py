"""The face in a real photograph."""

from __future__ import annotations

import pytest
from PIL import Image

from pti_hub.faces import Face, FaceAnalyzer, select


@pytest.fixture(scope="session")
def astronaut_face(astronaut: Image.Image) -> Face:
    """Hers."""
    return select(FaceAnalyzer().detect(astronaut))
