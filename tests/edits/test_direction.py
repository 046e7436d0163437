"""Directions: a latent plus so many steps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.directions import vector

from pti_hub.edits import Direction
from pti_hub.errors import InputError

STRENGTHS = st.floats(-100, 100)


@settings(deadline=None)
@given(a=STRENGTHS, b=STRENGTHS, plus=st.booleans())
def test_steps_add_up(a: float, b: float, plus: bool) -> None:
    direction = Direction("d", vector(4, 8).double() if plus else vector(8).double())
    ws = vector(2, 4, 8, seed=1).double()
    twice = direction.apply(direction.apply(ws, a), b)
    torch.testing.assert_close(twice, direction.apply(ws, a + b), rtol=0, atol=1e-10)
    torch.testing.assert_close(twice - ws, (a + b) * direction.vector.expand(2, 4, 8), rtol=0, atol=1e-10)


def test_leaves_its_input_alone() -> None:
    ws = vector(1, 4, 8)
    before = ws.clone()
    edited = Direction("d", vector(8, seed=1)).apply(ws, 0.0)
    edited += 1
    assert torch.equal(ws, before)


def test_w_direction_edits_w() -> None:
    w, direction = vector(3, 8), Direction("d", vector(8, seed=1))
    in_layers = direction.apply(w[:, None].expand(-1, 4, -1), 2.0)
    assert torch.equal(in_layers, direction.apply(w, 2.0)[:, None].expand(-1, 4, -1))


def test_keeps_type_of_latent() -> None:
    assert Direction("d", vector(8)).apply(vector(1, 4, 8).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("direction", "ws"),
    [((8,), (1, 4, 9)), ((4, 8), (1, 5, 8)), ((4, 8), (4, 8)), ((8,), (8,)), ((8,), (1, 1, 4, 8))],
)
def test_refuses_latents_that_do_not_fit(direction: tuple[int, ...], ws: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="latent of shape"):
        Direction("d", vector(*direction)).apply(vector(*ws))


def test_layers() -> None:
    whole = Direction("d", vector(8), "mine")
    part = whole.layers(1, 2, num_ws=4)
    assert (whole.space, part.space) == ("W", "W+")
    assert torch.equal(part.vector[1:3], whole.vector.expand(2, 8))
    assert not part.vector[[0, 3]].any()
    assert torch.equal(part.layers(2, 3, num_ws=4).vector[2], whole.vector)
    assert not part.layers(2, 3, num_ws=4).vector[[0, 1, 3]].any()
    assert part.provenance == "mine; layers 1 to 2"


@pytest.mark.parametrize(("first", "last"), [(-1, 2), (2, 1), (0, 4)])
def test_layers_out_of_range(first: int, last: int) -> None:
    with pytest.raises(InputError, match="layers"):
        Direction("d", vector(8)).layers(first, last, num_ws=4)


def test_layers_of_another_generator() -> None:
    with pytest.raises(InputError, match="num_ws=5"):
        Direction("d", vector(4, 8)).layers(0, 1, num_ws=5)


@pytest.mark.parametrize(
    "bad",
    [torch.zeros(2, 3, 4), torch.zeros(()), torch.zeros(0), torch.ones(3, dtype=torch.long), [1.0, 2.0]]
    + [torch.tensor([1.0, v]) for v in (math.nan, math.inf)],
)
def test_refuses_bad_vectors(bad: Any) -> None:
    with pytest.raises(InputError, match="'d'"):
        Direction("d", bad)


@pytest.mark.parametrize("name", ["", " ", "a=b", None])
def test_refuses_bad_names(name: Any) -> None:
    with pytest.raises(InputError, match="direction named"):
        Direction(name, vector(8))
