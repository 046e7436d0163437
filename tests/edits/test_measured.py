"""Edits in steps that are as large on every face."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.directions import SMILE

from pti_hub.edits import MeasuredEdit, Step
from pti_hub.edits.measured import STRENGTHS
from pti_hub.errors import FaceError, InputError
from pti_hub.faces import MEASURES

WIDER = dataclasses.replace(SMILE, step=Step(MEASURES["mouth_width"], 0.15))
"""One step widens the mouth by 0.15."""

YAW = MEASURES["yaw"]


def saturating(slope: float, most: float, rest: float = 0.8) -> Callable[[float], float]:
    """A mouth's width by the strength of the vector; it never changes by more than `most`."""
    return lambda strength: rest + most * math.tanh(slope * strength / most)


@given(strength=st.floats(-2, 2), slope=st.floats(0.05, 0.4), rest=st.floats(0.5, 1.5))
def test_the_change_is_the_same_on_every_face(strength: float, slope: float, rest: float) -> None:
    look = saturating(slope, 0.7, rest)
    if abs(look(min(2 * abs(strength), STRENGTHS[-1])) - rest) < 0.15 * abs(strength):
        return
    edit = MeasuredEdit(WIDER, strength).resolve(look)
    # A straight line replaces the curve between two measurements.
    assert look(edit.strength) - rest == pytest.approx(0.15 * strength, rel=0.15, abs=1e-6)


@given(strengths=st.lists(st.floats(-3, 3), min_size=1, max_size=6))
def test_what_was_measured_before_changes_nothing_and_saves_looks(strengths: list[float]) -> None:
    looks: list[float] = []

    def look(strength: float) -> float:
        looks.append(strength)
        return saturating(0.2, 0.5)(strength)

    known: dict[float, float] = {}
    together = [MeasuredEdit(WIDER, strength).resolve(look, known) for strength in strengths]
    assert len(looks) == len(set(looks)) <= 1 + 2 * len(STRENGTHS)
    alone = [MeasuredEdit(WIDER, strength).resolve(look) for strength in strengths]
    assert [edit.strength for edit in together] == [edit.strength for edit in alone]


@given(
    numbers=st.lists(st.floats(-0.05, 0.3), min_size=len(STRENGTHS), max_size=len(STRENGTHS)),
    asked=st.lists(st.floats(0, 3), min_size=2, max_size=8),
)
def test_who_asks_for_more_never_gets_less(numbers: list[float], asked: list[float]) -> None:
    curve = dict(zip((0.0, *STRENGTHS), (0.0, *numbers), strict=True))
    found = [MeasuredEdit(WIDER, strength).resolve(curve.__getitem__).strength for strength in sorted(asked)]
    assert found == sorted(found)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_face_that_goes_no_further_stops_and_says_so(sign: int, caplog: pytest.LogCaptureFixture) -> None:
    def look(strength: float) -> float:
        return 0.8 + sign * min(0.1, 0.1 * abs(strength))

    with caplog.at_level(logging.WARNING, "pti_hub"):
        edit = MeasuredEdit(WIDER, 2.0 * sign).resolve(look)
    assert edit.strength == sign
    (message,) = caplog.messages
    assert message.startswith(f"smile={2 * sign} stops at strength {sign} of its vector")
    assert "changes by 0.1 of 0.3" in message


def test_a_face_that_answers_the_wrong_way_stays_as_it_is() -> None:
    assert MeasuredEdit(WIDER, 1.0).resolve(lambda strength: 0.8 - 0.1 * strength).strength == 0.0


def test_a_face_that_is_lost_on_the_way_is_the_end_of_it() -> None:
    looks = []

    def look(strength: float) -> float:
        looks.append(strength)
        if strength > 1.5:
            raise FaceError("no face")
        return 0.1 * strength

    known: dict[float, float] = {}
    for _ in range(2):
        assert MeasuredEdit(WIDER, 2.0).resolve(look, known).strength == 1.5
    assert looks == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert MeasuredEdit(WIDER, -2.0).resolve(look, known).strength == pytest.approx(-STRENGTHS[-1])


@pytest.mark.parametrize(
    ("start", "asked", "looks_needed", "strength"),
    [(0.05, -1, 1, 0.0), (0.95, 1, 1, 0.0), (0.5, -1, 4, -1.25), (0.05, 1, 5, 2.0)],
)
def test_what_is_not_there_cannot_go(
    start: float, asked: float, looks_needed: int, strength: float, caplog: pytest.LogCaptureFixture
) -> None:
    glasses = dataclasses.replace(MEASURES["glasses"], lowest=0.0, highest=1.0, tolerance=0.02, jumps=False)
    looks: list[float] = []

    def look(strength: float) -> float:
        looks.append(strength)
        return start + 0.4 * strength

    with caplog.at_level(logging.WARNING, "pti_hub"):
        edit = MeasuredEdit(dataclasses.replace(SMILE, step=Step(glasses, 0.8)), asked).resolve(look)
    assert len(looks) == looks_needed
    # Not at all, as far as from 0.5 to 0, or as far as asked.
    assert edit.strength == pytest.approx(strength)
    assert ("stops at strength" in caplog.text) == (strength == 0.0)


@pytest.mark.parametrize(("asked", "strength"), [(1.0, 1.5), (0.5, 1.5), (0.1, 1.5), (0.0, 0.0), (-1.0, 0.0)])
def test_there_are_no_half_glasses(asked: float, strength: float) -> None:
    assert MEASURES["glasses"].jumps

    def look(strength: float) -> float:
        return 0.05 + (0.9 if strength > 1.2 else 0.0)

    edit = MeasuredEdit(dataclasses.replace(SMILE, step=Step(MEASURES["glasses"], 0.8)), asked).resolve(look)
    # A part of a step takes a part of its two vectors at most.
    assert edit.strength == pytest.approx(min(strength, 1.5 * abs(asked)))


def test_a_face_that_hardly_answers_is_not_pushed_to_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "pti_hub"):
        edit = MeasuredEdit(WIDER, 1.0).resolve(lambda strength: 0.04 * strength)
    assert edit.strength == 2.0
    assert "changes by 0.08 of 0.15" in caplog.text


def test_without_a_face_there_is_nothing_to_measure() -> None:
    def look(strength: float) -> float:
        raise FaceError("no face")

    with pytest.raises(FaceError):
        MeasuredEdit(WIDER, 1.0).resolve(look)


def test_no_step_needs_no_look() -> None:
    assert MeasuredEdit(WIDER, 0.0).resolve(lambda strength: pytest.fail("looked")).strength == 0.0


def test_a_direction_without_steps() -> None:
    with pytest.raises(InputError, match="'smile' has no measured step"):
        MeasuredEdit(SMILE)


@pytest.mark.parametrize(
    ("measure", "change"),
    [("yaw", 1.0), (YAW, 0.0), (YAW, -1.0), (YAW, math.inf), (YAW, "3"), ([], 1.0), (YAW, True)],
)
def test_steps_that_cannot_be(measure: Any, change: Any) -> None:
    with pytest.raises(InputError, match=r"expected a (finite )?number") as caught:
        dataclasses.replace(SMILE, step=Step(measure, change))
    assert "\n" not in str(caught.value)
