"""Numbers on faces."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pti_hub.faces import Face, draw_numbers


def test_every_face_has_a_frame_and_a_number() -> None:
    picture = Image.new("RGB", (300, 200), (10, 20, 30))
    faces = [Face((20, 30, 100, 120), np.zeros((68, 2)), 1.0), Face((-10, -5, 60, 25), np.zeros((68, 2)), 1.0)]
    drawn = np.asarray(draw_numbers(picture, faces))
    assert np.asarray(picture).max() == 30  # a copy is drawn on
    yellow = (drawn == (255, 214, 0)).all(2)
    assert yellow[30:120, 20].all()
    assert yellow[119, 20:100].all()
    assert (drawn[:20, :20] == 0).all(2).any()  # the number of a face whose frame begins outside
