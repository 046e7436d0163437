"""How the shipped directions are learned."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from support.directions import vector

from pti_hub.edits import Direction, Step
from pti_hub.faces import MEASURES

EVERYWHERE = np.ones((2, 4), bool)
"""Room for each of four faces to go down and up."""


@pytest.fixture
def measured() -> Any:
    """The module that measures edits."""
    return importlib.import_module("measured_edits")


@pytest.fixture
def recombined() -> Any:
    """The module that recombines steps."""
    return importlib.import_module("recombined_steps")


def test_figures_of_a_perfect_edit(measured: Any) -> None:
    labels = np.zeros((len(measured.STRENGTHS), 3, len(measured.ATTRIBUTES)))
    own, other = list(measured.ATTRIBUTES).index("age"), list(measured.ATTRIBUTES).index("smile")
    labels[..., own] = 1.5 * np.array(measured.STRENGTHS)[:, None]
    labels[..., other] = 0.2 * np.array(measured.STRENGTHS)[:, None] * [-1, 1, 1]
    figures = measured.figures("age", labels, np.zeros((len(measured.STRENGTHS), 3, 128)), EVERYWHERE[:, :3])
    assert (figures["hit_rate"], figures["monotone_rate"], figures["shift"]) == (1, 1, 1.5)
    assert (figures["hits"], figures["trials"], figures["nearly_monotone_rate"]) == ([3, 3], [3, 3], 1)
    assert figures["other_shifts"]["smile"] == 0.2
    assert figures["other_shifts"]["pose"] == 0
    assert (figures["identity_distance"], figures["identity_below_half"]) == (0, 1)


def test_figures_of_a_broken_edit(measured: Any) -> None:
    labels = np.zeros((len(measured.STRENGTHS), 4, len(measured.ATTRIBUTES)))
    own = list(measured.ATTRIBUTES).index("age")
    labels[..., own] = np.array(measured.STRENGTHS)[:, None]
    labels[:, 0, own] *= -1  # the wrong way
    labels[-1, 1, own] = 0.5  # falls back at strength 2
    labels[-1, 2] = np.nan  # no face at strength 2
    labels[0, 3, own] = -1 + 0.5 * measured.NEARLY  # hardly falls
    figures = measured.figures("age", labels, np.ones((len(measured.STRENGTHS), 4, 128)), EVERYWHERE)
    assert (figures["hit_rate"], figures["monotone_rate"], figures["nearly_monotone_rate"]) == (0.75, 0, 0.25)
    assert figures["shift"] == 0.5
    assert figures["faces_lost"] == 0.05


def test_what_cannot_go_further_is_no_trial(measured: Any) -> None:
    glasses = Direction("glasses", torch.ones(4), step=Step(MEASURES["glasses"], 0.8))
    room = measured.has_room(glasses, np.array([0.05, 1.0, 0.5]))
    assert room.tolist() == [[False, True, True], [True, False, True]]
    labels = np.zeros((len(measured.STRENGTHS), 3, len(measured.ATTRIBUTES)))
    labels[..., list(measured.ATTRIBUTES).index("glasses")] = np.array(measured.STRENGTHS)[:, None] * [1, -1, 1]
    figures = measured.figures("glasses", labels, np.zeros((len(measured.STRENGTHS), 3, 128)), room)
    assert (figures["hits"], figures["trials"]) == ([1, 2], [2, 2])
    assert (figures["hit_rate"], figures["shift"]) == (0.75, 0.5)
    age = Direction("age", torch.ones(4), step=Step(MEASURES["age"], 15.0))
    assert measured.has_room(age, np.array([20.0, 90.0])).all()


def test_corrected_steps_move_nothing_that_is_held(recombined: Any) -> None:
    recipes = {name: recombined.Recipe(1.0) for name in recombined.CORRECTED}
    recipes["smile"] = recombined.Recipe(1.0, ("mouth_open",))
    recipes["beard"] = recombined.Recipe(1.0, ("age",))
    shape = len(recipes), len(recombined.CORRECTED)
    response = torch.eye(*shape) + 0.1 * vector(*shape)
    after = recombined.independent(response, recipes) @ response
    for name, row in zip(recipes, after, strict=True):
        held = [i for i, other in enumerate(recombined.CORRECTED) if other not in (name, *recipes[name].moves)]
        torch.testing.assert_close(row[held], torch.zeros(len(held)), atol=1e-5, rtol=0)
        if name in recombined.CORRECTED:
            assert row[recombined.CORRECTED.index(name)] == pytest.approx(1.0)
    assert after[0, recombined.CORRECTED.index("mouth_open")] != 0


def test_a_recipe_can_leave_the_correction_out(recombined: Any) -> None:
    recipes = {
        "smile": recombined.Recipe(1.0, corrected=False),
        "sad": recombined.Recipe(1.0, smile=-0.5),
        "age": recombined.Recipe(1.0),
    }
    before, after = vector(3, 2, 4), vector(3, 2, 4, seed=1)
    smile, sad, age = recombined.chosen(before, after, recipes)
    assert torch.equal(smile, before[0]) and torch.equal(age, after[2])
    # What others take of a smile is corrected, as they are.
    torch.testing.assert_close(sad, after[1] - 0.5 * after[0])


def test_steps_move_the_layers_of_their_recipes(recombined: Any) -> None:
    recipes = {"glasses": recombined.Recipe(1.0, first=2, last=3), "beard": recombined.Recipe(1.0)}
    w = vector(50, 40).double()
    coefficients = vector(40, len(recombined.ATTRIBUTES), seed=1).double()
    steps = recombined.steps_of(recipes, coefficients, w - w.mean(0), 12)
    assert [bool(step.any()) for step in steps[0]] == [i in (2, 3) for i in range(12)]
    # A step moves its own prediction by one standard deviation, and no other.
    predicted = steps[:, 3].double() @ coefficients
    names = list(recombined.ATTRIBUTES)
    for row, name in zip(predicted, recipes, strict=True):
        expected = torch.tensor([float(other == name) for other in recombined.HELD], dtype=row.dtype)
        torch.testing.assert_close(row[[names.index(held) for held in recombined.HELD]], expected, atol=1e-5, rtol=1e-5)
