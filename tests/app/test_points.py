"""Points of a face as text, and drawn onto its picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.pictures import same

from pti_hub import InputError
from pti_hub.app.points import MOST_POINTS, draw_points, pairs, read_points, write_points

NUMBERS = st.one_of(st.integers(-9999, 9999).map(float), st.integers(-10_000_000, 10_000_000).map(lambda n: n / 1000))
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=2 * MOST_POINTS)
SKINS = [(255, 224, 196), (198, 134, 66), (141, 85, 36), (60, 32, 20), (0, 0, 0), (255, 255, 255)]


@given(POINTS)
def test_what_is_written_is_read(points: list[tuple[float, float]]) -> None:
    assert read_points(write_points(points)) == points


def test_points_as_a_person_types_them() -> None:
    assert read_points(" 412,640 > 430,600;500,640>490,600 ; ") == [(412, 640), (430, 600), (500, 640), (490, 600)]
    assert read_points("412,640>430,600; 500,640>") == [(412, 640), (430, 600), (500, 640)]
    assert read_points("412,640>") == [(412, 640)]
    assert read_points(" \n") == []
    assert write_points([(412, 640), (430.5, 600), (500, 640)]) == "412,640>430.5,600; 500,640>"


@pytest.mark.parametrize("text", ["412", "412,640", "1,2>3", ">", "1,2>3,4>", "1,2>3,4; >", "a,b>c,d", "1,2>nan,4"])
def test_what_is_no_point(text: str) -> None:
    with pytest.raises(InputError, match=r"^points .*; expected X,Y>X,Y") as caught:
        read_points(text)
    assert "\n" not in str(caught.value)


def test_too_many_points() -> None:
    with pytest.raises(InputError, match=f"^{MOST_POINTS + 1} points to drag; expected at most {MOST_POINTS} at once$"):
        read_points("1,2>3,4;" * (MOST_POINTS + 1))


def test_points_in_pairs() -> None:
    assert pairs([(1, 2), (3, 4), (5, 6), (7, 8)]) == [((1, 2), (3, 4)), ((5, 6), (7, 8))]
    with pytest.raises(InputError, match=r"^no points yet; click on the face"):
        pairs([])
    with pytest.raises(InputError, match=r"^point 2 has no target yet; click where it is to go$"):
        pairs([(1, 2), (3, 4), (5, 6)])


def test_without_points_nothing_is_drawn() -> None:
    picture = Image.new("RGB", (64, 64), "teal")
    assert draw_points(picture, [], 64) is picture


@pytest.mark.parametrize("skin", SKINS)
@pytest.mark.parametrize("size", [256, 1024])
def test_points_are_seen_on_any_skin(skin: tuple[int, int, int], size: int) -> None:
    picture = Image.new("RGB", (size, size), skin)
    handle, target = (300.0, 500.0), (700.0, 420.0)
    drawn = np.asarray(draw_points(picture, [handle, target], 1024)).astype(int)
    assert same(picture, Image.new("RGB", (size, size), skin))
    seen = np.abs(drawn - np.asarray(skin)).max(2) > 60
    scale = size / 1024
    for x, y in (handle, ((handle[0] + target[0]) / 2, (handle[1] + target[1]) / 2), (target[0] + 18, target[1])):
        column, row = round(x * scale), round(y * scale)
        near = (slice(row - 6, row + 7), slice(column - 6, column + 7))
        assert seen[near].any(), (x, y)
    # What lies in the ring can still be seen, and nothing is drawn far away.
    assert (drawn[round(target[1] * scale), round(target[0] * scale)] == skin).all()
    assert not seen[: round(300 * scale)].any()
    assert not seen[:, round(800 * scale) :].any()


def test_handles_and_targets_differ_in_more_than_colour() -> None:
    drawn = draw_points(Image.new("L", (512, 512), 128).convert("RGB"), [(100, 256), (400, 256)], 512).convert("L")
    handle, target = (np.asarray(drawn.crop((x - 12, 244, x + 13, 269))) for x in (100, 400))
    assert handle[12, 12] != 128
    assert target[12, 12] == 128


def test_points_at_the_edge_and_beyond() -> None:
    picture = Image.new("RGB", (64, 64), "teal")
    for points in (
        [(0.0, 0.0), (63.0, 63.0)],
        [(900.0, -300.0), (950.0, -300.0)],
        [(5.0, 5.0), (5.0, 5.0)],
        [(1.0, 63.0)],
    ):
        drawn = draw_points(picture, points, 64)
        assert drawn.size == (64, 64)
        assert not same(drawn, picture)
