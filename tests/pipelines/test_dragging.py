"""A person's points are dragged, and the result goes home into the photograph."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.dragging import deep

from pti_hub import InputError, Personalization, PTIPipeline
from pti_hub.edits import Edit, load_edits, save_edits
from pti_hub.images import to_pil
from pti_hub.pipelines.dragging import _within

MOVES = [((26.5, 38.5), (30.5, 38.5))]


@pytest.fixture(autouse=True)
def _shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of the layers of so shallow a network shapes next to nothing."""
    monkeypatch.setattr("pti_hub.pipelines.dragging.DragConfig", deep)


@pytest.fixture
def picture(photograph: torch.Tensor) -> Image.Image:
    """The photograph, twice as large as the generator's pictures."""
    return to_pil(photograph[None])[0].resize((128, 128), Image.Resampling.BICUBIC)


def changed(a: Image.Image, b: Image.Image) -> np.ndarray:
    return (np.asarray(a) != np.asarray(b)).any(2)


def test_a_drag_gives_the_picture_of_its_direction(pipe: PTIPipeline, ada: Personalization) -> None:
    out = pipe.drag(ada, MOVES, steps=4, name="pulled")
    assert out.photograph is None
    assert out.direction.name == "pulled"
    assert len(out.points) == len(out.distances) == len(out.arrived) == 1
    assert out.distances[0] < 16  # what it was at the start, in pixels at 256²
    assert changed(out.image, pipe.edit(ada)[0]).any()
    assert not changed(out.image, pipe.edit(ada, out.direction)[0]).any()


def test_the_direction_is_saved_scaled_and_put_in_a_sequence(
    pipe: PTIPipeline, ada: Personalization, tmp_path: Path
) -> None:
    out = pipe.drag(ada, MOVES, steps=3)
    save_edits(tmp_path / "edits", {"drag": out.direction})
    pipe.edits |= load_edits(tmp_path / "edits")
    assert not changed(pipe.edit(ada, "drag")[0], out.image).any()
    twice = pipe.edit(ada, ["drag=0.5", "smile", "drag=0.5"])[0]
    once = pipe.edit(ada, ["smile", ("drag", 1.0)])[0]
    assert np.abs(np.asarray(twice).astype(int) - np.asarray(once)).max() <= 1


def test_edits_before_the_drag_are_part_of_the_picture(pipe: PTIPipeline, ada: Personalization) -> None:
    out = pipe.drag(ada, MOVES, steps=3, edit=["smile=2"])
    assert not changed(out.image, pipe.edit(ada, ["smile=2", Edit(out.direction)])[0]).any()
    assert changed(out.image, pipe.edit(ada, Edit(out.direction))[0]).any()


def test_points_lie_in_the_photograph_where_there_is_one(pipe: PTIPipeline, picture: Image.Image) -> None:
    ada = pipe(picture).personalization
    # The picture is the face, twice as large: pixel centres lie at 2x + 0.5.
    alone = pipe.drag(ada, MOVES, steps=3)
    home = pipe.drag(ada, [((53.5, 77.5), (61.5, 77.5))], steps=3, photograph=picture)
    torch.testing.assert_close(home.direction.vector, alone.direction.vector)
    assert home.points[0] == pytest.approx([2 * number + 0.5 for number in alone.points[0]], abs=1e-3)
    assert home.photograph is not None
    edited = pipe(ada, edit=Edit(home.direction), photograph=picture).photographs[0]
    assert not changed(home.photograph, edited).any()


def test_a_mask_keeps_the_rest_to_the_bit(pipe: PTIPipeline, picture: Image.Image) -> None:
    ada = pipe(picture).personalization
    free = np.ones((128, 128), bool)
    free[:, 112:] = False
    moves = [((53.5, 77.5), (61.5, 77.5))]
    out = pipe.drag(ada, moves, steps=4, photograph=picture, mask=Image.fromarray(free.astype(np.uint8) * 255))
    assert out.photograph is not None
    assert not changed(out.photograph, picture)[~free].any()
    # Four columns at the border are held, which leaves the points their way.
    of_face = np.ones((64, 64), bool)
    of_face[:, 60:] = False
    found = pipe.drag(ada, [((26.5, 38.5), (28.5, 38.5))], mask=of_face)
    assert found.direction.vector.any()
    assert changed(found.image, pipe.edit(ada)[0])[of_face].any()
    assert not changed(found.image, pipe.edit(ada)[0])[~of_face].any()


def test_inside_the_mask_is_the_one_picture_and_outside_the_other() -> None:
    free = np.zeros((100, 200), np.uint8)
    free[:, 50:150] = 255
    before, after = (Image.new("RGB", (200, 100), colour) for colour in ("black", "white"))
    shown = np.asarray(_within(free, before, after, 200))[..., 0]
    assert not shown[free == 0].any()
    assert (shown[:, 60:140] == 255).all()
    assert (np.diff(shown[50, 49:60].astype(int)) >= 0).all()


def test_the_middle_of_a_small_mask_changes_fully() -> None:
    free = np.zeros((400, 600), np.uint8)
    free[100:106, 100:110] = 255
    before, after = (Image.new("RGB", (600, 400), colour) for colour in ("black", "white"))
    assert np.asarray(_within(free, before, after, 2000)).max() == 255


def test_a_drag_needs_no_gradients_of_the_caller(pipe: PTIPipeline, ada: Personalization) -> None:
    expected = pipe.drag(ada, MOVES, steps=3).direction.vector
    with torch.no_grad():
        assert torch.equal(pipe.drag(ada, MOVES, steps=3).direction.vector, expected)
    with torch.inference_mode():
        assert torch.equal(pipe.drag(ada, MOVES, steps=3).direction.vector, expected)


def test_a_callback_sees_each_step(pipe: PTIPipeline, ada: Personalization) -> None:
    seen: list[tuple[int, dict[str, Any]]] = []
    pipe.drag(ada, MOVES, steps=3, callback_on_step_end=lambda step, metrics: seen.append((step, metrics)))
    assert [step for step, _ in seen] == list(range(len(seen)))
    assert all(set(metrics) == {"stage", "distance", "picture"} for _, metrics in seen)
    assert seen[0][1]["stage"] == "drag"
    assert seen[0][1]["picture"].shape == (1, 3, 64, 64)
    assert isinstance(seen[0][1]["distance"], float)


def test_an_exception_of_the_callback_ends_the_drag(pipe: PTIPipeline, ada: Personalization) -> None:
    def stop(step: int, metrics: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipe.drag(ada, MOVES, callback_on_step_end=stop)
    assert pipe.drag(ada, MOVES, steps=1).points


def test_who_stays_behind_is_named(pipe: PTIPipeline, ada: Personalization, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("pti_hub").addHandler(caplog.handler)
    try:
        out = pipe.drag(ada, [((5.0, 5.0), (60.0, 60.0))], steps=1)
    finally:
        logging.getLogger("pti_hub").removeHandler(caplog.handler)
    assert out.arrived == [False]
    assert "the point (5, 5) is " in caplog.text


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        ([((70, 5), (8, 8))], r"the point \(70, 5\) lies outside the face's square"),
        ([((5, 5), (8, float("nan")))], r"lies outside the face's square"),
        ([], "expected pairs of points"),
        ([(5, 5)], "expected pairs of points"),
        ("5,5>8,8", "expected pairs of points"),
        ([((5, 5), (8, 8), (9, 9))], "expected pairs of points"),
        ([((5, 5), (8, 8)), ((5, 5), (1, 1))], "is dragged to two places"),
        ([((5, 5), (5, 5))], "every point lies on its target"),
        ([((5, 5 + i / 10), (8, 8)) for i in range(101)], "101 points to drag; expected 1 to 100"),
    ],
)
def test_bad_points(pipe: PTIPipeline, ada: Personalization, moves: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        pipe.drag(ada, moves)
    assert "\n" not in str(error.value)


def test_bad_masks(pipe: PTIPipeline, ada: Personalization) -> None:
    with pytest.raises(InputError, match="black everywhere"):
        pipe.drag(ada, MOVES, mask=np.zeros((64, 64), bool))
    with pytest.raises(InputError, match=r"a mask of 10×20 px; expected 64×64 px"):
        pipe.drag(ada, MOVES, mask=np.ones((20, 10), bool))
    corner = np.zeros((64, 64), bool)
    corner[:5, :5] = True
    with pytest.raises(InputError, match="outside the mask"):
        pipe.drag(ada, MOVES, mask=corner)


def test_who_is_nobody_or_several_is_not_dragged(
    pipe: PTIPipeline, ada: Personalization, photograph: torch.Tensor, picture: Image.Image
) -> None:
    with pytest.raises(InputError, match="no identity 'bob' is loaded"):
        pipe.drag("bob", MOVES)
    with pytest.raises(InputError, match="ada, bob to be dragged; expected one identity"):
        pipe.drag(pipe.personalize({"ada": photograph, "bob": picture}), MOVES)
    with pytest.raises(InputError, match="is not the one that 'subject' was tuned on"):
        pipe.drag(ada, MOVES, photograph=picture)
