"""Edits by an angle."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.directions import SMILE

from pti_hub.edits import YawEdit
from pti_hub.edits.yaw import TOLERANCE
from pti_hub.errors import FaceError, InputError


@given(degrees=st.floats(-20, 20), slope=st.sampled_from([-12.0, -3.0, 5.0, 16.0]), start=st.floats(-30, 30))
def test_the_strength_of_an_angle_is_found(degrees: float, slope: float, start: float) -> None:
    looks = 0

    def yaw(strength: float) -> float:
        nonlocal looks
        looks += 1
        # Saturates, as heads do, and is read in steps of a third of a degree, as landmarks are.
        return round(3 * (start + 25 * math.tanh(slope * strength / 25))) / 3

    if abs(degrees) > abs(25 * math.tanh(slope * 4 / 25)) - 1:
        return
    edit = YawEdit(SMILE, degrees).resolve(yaw)
    turned = yaw(edit.strength) - yaw(0.0)
    assert abs(turned - degrees) <= TOLERANCE
    assert looks <= 25


@pytest.mark.parametrize(("slope", "degrees"), [(-0.5, 1.5), (0.5, 1.5), (0.7, -2.4)])
def test_a_first_look_that_shows_nothing_or_the_wrong_way(slope: float, degrees: float) -> None:
    def yaw(strength: float) -> float:
        wrong = 0.4 if strength == 0.25 else 0.0
        return round(3 * (slope * strength - math.copysign(wrong, degrees))) / 3

    edit = YawEdit(SMILE, degrees).resolve(yaw)
    assert abs(yaw(edit.strength) - yaw(0.0) - degrees) <= TOLERANCE


def test_a_face_that_is_lost_on_the_way_is_the_end_of_that_way() -> None:
    def yaw(strength: float) -> float:
        if abs(strength) > 1.5:
            raise FaceError("no face")
        return 8.0 * strength

    assert YawEdit(SMILE, 8.0).resolve(yaw).strength == pytest.approx(1.0, abs=0.07)
    with pytest.raises(InputError, match=r"comes no nearer to a turn of 20° than 8\.0°"):
        YawEdit(SMILE, 20.0).resolve(yaw)


def test_a_direction_that_turns_nothing() -> None:
    with pytest.raises(InputError, match="'smile' comes no nearer to a turn of 10°"):
        YawEdit(SMILE, 10.0).resolve(lambda strength: 0.3 * strength)
