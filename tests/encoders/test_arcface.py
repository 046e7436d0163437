"""ArcFace as a measure of identity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pti_hub import InputError
from pti_hub.encoders import ArcFace
from pti_hub.faces import FaceAnalyzer, identity_distance


def test_arcface_measures_identity_as_dlib_does() -> None:
    pytest.importorskip("dlib")
    picture = Image.fromarray(pytest.importorskip("skimage.data").astronaut())
    (face,) = FaceAnalyzer().detect(picture)
    torch.manual_seed(0)
    network = ArcFace()
    embedded = network.embedding(picture, face)
    assert embedded.shape == (512,)
    assert np.linalg.norm(embedded) == pytest.approx(1)
    mirrored = network.embedding(picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM), face)
    assert identity_distance(embedded, embedded) == 0 < identity_distance(embedded, mirrored)
    with pytest.raises(InputError, match=r"embeddings of shapes \[512\], \[128\]"):
        identity_distance(embedded, np.ones(128))
