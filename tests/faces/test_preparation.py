"""Photographs that are hard to prepare: turned, cut off, small, already aligned."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from pti_hub.errors import FaceError
from pti_hub.faces import Compositor, aligned_faces


@pytest.mark.parametrize(
    ("turn", "hint"),
    [
        (Image.Transpose.ROTATE_90, "turned by 90° clockwise"),
        (Image.Transpose.ROTATE_270, "turned by 90° anticlockwise"),
        (Image.Transpose.ROTATE_180, "turned by 180°"),
    ],
)
def test_a_photograph_on_its_side_is_told_how_to_be_turned(
    astronaut: Image.Image, turn: Image.Transpose, hint: str
) -> None:
    with pytest.raises(FaceError, match=f"no face found.*there is a face if the picture is {hint}") as caught:
        aligned_faces(astronaut.transpose(turn), 256)
    assert "\n" not in str(caught.value)


def test_a_small_face_is_told_to_be_soft(
    astronaut: Image.Image, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("pti_hub"), "propagate", True)
    small = astronaut.crop((60, 0, 400, 400)).resize((170, 200), Image.Resampling.LANCZOS)
    aligned = aligned_faces(small, 1024)[0]
    side = np.hypot(*(aligned.quad[1] - aligned.quad[0]))
    assert side < 130
    assert f"face 0 is small: {side:.0f} px are enlarged to 1024 px, so the face alone will be soft" in caplog.text
    caplog.clear()
    aligned_faces(astronaut, 256)
    assert caplog.text == ""


def test_a_face_half_outside_comes_home_where_there_is_a_photograph(astronaut: Image.Image) -> None:
    # The face's square reaches beyond the picture on two sides.
    cut = astronaut.crop((165, 40, 420, 400))
    aligned = aligned_faces(cut, 256)[0]
    assert (aligned.quad < 0).any()
    edited = Image.fromarray(np.asarray(aligned.picture) // 2)
    result = np.asarray(Compositor(cut, aligned.quad, aligned.picture)(edited))
    assert result.shape == np.asarray(cut).shape
    assert (result != np.asarray(cut)).any()


def test_one_face_of_an_aligned_picture_is_the_whole_picture(astronaut: Image.Image) -> None:
    aligned = aligned_faces(astronaut, 256)[0]
    again = aligned_faces(aligned.picture, 256)
    assert again[0].picture is aligned.picture
    assert aligned_faces(aligned.picture, 256, face="all")[0].picture is aligned.picture
    assert aligned_faces(aligned.picture, 256, align=True)[0].picture is not aligned.picture
