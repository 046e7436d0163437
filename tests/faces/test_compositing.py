"""Compositing: the photograph comes home, changed only where the edit changed the face."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from pti_hub import InputError
from pti_hub.faces import Compositor, Placement


def square(x: float, y: float, side: float, angle: float = 0.0) -> np.ndarray:
    """Corners, as `crop_quad` orders them, of a square around a point, turned by degrees."""
    turn = np.array(
        [
            [math.cos(math.radians(angle)), -math.sin(math.radians(angle))],
            [math.sin(math.radians(angle)), math.cos(math.radians(angle))],
        ]
    )
    corners = side / 2 * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
    return corners @ turn.T + (x, y)


def texture(width: int, height: int, seed: int = 0, blur: float = 1.5) -> Image.Image:
    """A picture with something to see everywhere."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(blur))


def aligned(photograph: Image.Image, quad: np.ndarray, size: int = 256) -> Image.Image:
    """The square of a photograph."""
    corners = tuple((quad + 0.5).flatten())
    return photograph.transform((size, size), Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


@settings(max_examples=20)
@given(
    x=st.floats(-20, 320),
    y=st.floats(-20, 220),
    side=st.floats(60, 400),
    angle=st.floats(-180, 180),
    edit=st.booleans(),
)
def test_outside_the_square_nothing_changes(x: float, y: float, side: float, angle: float, edit: bool) -> None:
    photograph, quad = texture(300, 200), square(x, y, side, angle)
    reconstruction = texture(128, 128, 1)
    result = Compositor(photograph, quad, reconstruction)(texture(128, 128, 2) if edit else reconstruction)
    assert result.size == photograph.size
    where = np.stack(np.meshgrid(np.arange(300), np.arange(200)), 2) - quad[0]
    shares = where @ np.linalg.inv(np.stack([quad[3] - quad[0], quad[1] - quad[0]]))
    outside = ((shares < -0.01) | (shares > 1.01)).any(2) | (not edit)
    assert np.array_equal(pixels(result)[outside], pixels(photograph)[outside])


@pytest.mark.parametrize("angle", [0.0, 20.0, 90.0])
@pytest.mark.parametrize("side", [100.0, 256.0, 420.0])
def test_a_change_of_colour_comes_home_and_the_photographs_detail_stays(side: float, angle: float) -> None:
    photograph, quad = texture(500, 500), square(250, 240, side, angle)
    # The generator paints the face without its grain.
    reconstruction = aligned(photograph, quad).filter(ImageFilter.GaussianBlur(3))
    tinted = Image.fromarray((pixels(reconstruction) + np.array([40, 0, -20])).clip(0, 255).astype(np.uint8))
    change = pixels(Compositor(photograph, quad, reconstruction)(tinted)) - pixels(photograph)
    middle = change[240 - int(side / 8) : 240 + int(side / 8), 250 - int(side / 8) : 250 + int(side / 8)]
    np.testing.assert_allclose(middle.mean((0, 1)), (40, 0, -20), atol=2)
    assert middle.std((0, 1)).max() < 4


def test_what_moves_takes_the_photographs_detail_along() -> None:
    photograph, quad = texture(400, 400, blur=1), square(200, 200, 256)
    soft = aligned(photograph, quad).filter(ImageFilter.GaussianBlur(2))
    way = 5
    # The face moves to the right, its surroundings stay.
    fade = np.clip(1.6 - np.hypot(*(np.mgrid[0:256, 0:256] - 127.5)) / 70, 0, 1).astype(np.float32)
    y, x = np.mgrid[0:256, 0:256].astype(np.float32)
    moved = cv2.remap(np.asarray(soft), x - way * fade, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    result = pixels(Compositor(photograph, quad, soft)(Image.fromarray(moved)))
    here, there = (slice(180, 220), slice(180 + way, 220 + way)), (slice(180, 220), slice(180, 220))
    original = pixels(photograph)
    detail = [
        patch - cv2.GaussianBlur(patch.astype(np.float32), (0, 0), 2) for patch in (result[here], original[there])
    ]
    assert np.corrcoef(detail[0].ravel(), detail[1].ravel())[0, 1] > 0.8


def test_a_grey_photograph_stays_grey() -> None:
    photograph = texture(300, 300).convert("L").convert("RGB")
    result = pixels(Compositor(photograph, square(150, 150, 200), texture(128, 128, 1))(texture(128, 128, 2)))
    assert not np.array_equal(result, pixels(photograph))
    assert (result == result[..., :1]).all()


def test_what_does_not_fit_is_one_line() -> None:
    photograph, face = texture(100, 100), texture(64, 64)
    with pytest.raises(InputError, match=r"lies outside the photograph of 100×100 px"):
        Compositor(photograph, square(400, 50, 80), face)
    with pytest.raises(InputError, match=r"an edited picture \[32, 32, 3\] for a reconstruction \[64, 64, 3\]"):
        Compositor(photograph, square(50, 50, 80), face)(texture(32, 32))


def test_a_placement_through_json() -> None:
    placement = Placement(tuple(map(tuple, square(10, 20, 30, 40).tolist())), (640, 480), "ab" * 32)
    assert Placement.from_json(json.loads(json.dumps(placement.to_json()))) == placement


@pytest.mark.parametrize(
    "change",
    [
        {"quad": [[0, 0]] * 3},
        {"quad": [[0, math.inf]] * 4},
        {"quad": 5},
        {"size": [0, 10]},
        {"size": [10**9, 10]},
        {"size": "ab"},
        {"digest": None, "size": None},
    ],
)
def test_a_strangers_placement_is_refused(change: dict[str, Any]) -> None:
    good = Placement(((0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0)), (4, 4), "x").to_json()
    with pytest.raises((ValueError, TypeError)):
        Placement.from_json({**good, **change})


def test_one_compositor_in_many_threads() -> None:
    compositor = Compositor(texture(300, 300), square(150, 150, 200), texture(128, 128, 1))
    edits = [texture(128, 128, seed) for seed in range(2, 6)] * 8
    alone = [pixels(compositor(edit)) for edit in edits[:4]]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(compositor, edits))
    assert all(np.array_equal(pixels(result), alone[i % 4]) for i, result in enumerate(together))


def test_a_photograph_one_pixel_wide() -> None:
    photograph = texture(1, 200)
    assert Compositor(photograph, square(0, 100, 80), texture(64, 64, 1))(texture(64, 64, 2)).size == (1, 200)


def head(background: tuple[int, int, int], hair: int) -> Image.Image:
    """A textured head [256, 256] before a plain background; smooth skin in the middle."""
    picture = Image.new("RGB", (256, 256), background)
    strands = texture(256, 256, 3).point(lambda value: min(255, value // 2 + hair))
    outline = Image.fromarray(ellipse(0.5, 0.55, 0.3, 0.42))
    picture.paste(strands, mask=outline)
    picture.paste((200, 160, 140), mask=Image.fromarray(ellipse(0.5, 0.58, 0.2, 0.28)))
    return picture


def ellipse(x: float, y: float, width: float, height: float) -> np.ndarray:
    """A mask [256, 256]."""
    places = (np.arange(256) + 0.5) / 256
    inside = np.hypot((places - x) / width, (places[:, None] - y) / height) < 1
    return (255 * inside).astype(np.uint8)


def test_a_plain_background_keeps_its_colour_while_the_hair_changes() -> None:
    photograph, quad = head((90, 140, 220), 20), square(127.5, 127.5, 256)
    result = pixels(Compositor(photograph, quad, photograph)(head((130, 160, 190), 90)))
    outside = ellipse(0.5, 0.55, 0.33, 0.45) == 0
    assert np.array_equal(result[outside], pixels(photograph)[outside])
    hair = (ellipse(0.5, 0.55, 0.28, 0.40) > 0) & (ellipse(0.5, 0.58, 0.22, 0.30) == 0)
    assert (result - pixels(photograph))[hair].mean() > 40


def test_smooth_skin_changes_its_colour() -> None:
    photograph, quad = head((90, 140, 220), 20), square(127.5, 127.5, 256)
    edited = photograph.copy()
    edited.paste((230, 140, 140), mask=Image.fromarray(ellipse(0.5, 0.58, 0.2, 0.28)))
    result = pixels(Compositor(photograph, quad, photograph)(edited))
    middle = ellipse(0.5, 0.58, 0.17, 0.25) > 0
    assert np.abs(result - pixels(edited))[middle].mean() < 3


def test_hair_grows_over_a_plain_background() -> None:
    photograph, quad = head((90, 140, 220), 20), square(127.5, 127.5, 256)
    edited = photograph.copy()
    grown = (ellipse(0.5, 0.6, 0.38, 0.42) > 0) & (ellipse(0.5, 0.55, 0.3, 0.42) == 0)
    edited.paste(texture(256, 256, 4).point(lambda value: value // 3), mask=Image.fromarray((255 * grown).astype("u1")))
    change = np.abs(pixels(Compositor(photograph, quad, photograph)(edited)) - pixels(photograph)).mean(2)
    inner = cv2.erode(grown.astype(np.uint8), np.ones((5, 5))) > 0
    inner[:, :40], inner[:, -40:] = False, False  # where no edit acts fully
    assert np.median(change[inner]) > 25
