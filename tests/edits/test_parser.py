"""Edits as a user writes them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.directions import CATALOGUE, vector

from pti_hub.edits import Direction, Edit, EditParser
from pti_hub.errors import InputError
from pti_hub.generators import MobileStyleGAN

PARSER = EditParser(CATALOGUE, MobileStyleGAN(z_dim=8, w_dim=8, channels=(8, 8), mapping_layers=1))


def test_every_form() -> None:
    own = Direction("own", vector(8))
    given_ = ["smile", ("age", -3), Edit(own, 0.5), own, [("pose", np.float32(2))]]
    edits = PARSER.parse(given_)
    assert [(e.direction.name, e.strength) for e in edits] == [
        ("smile", 1.0),
        ("age", -3.0),
        ("own", 0.5),
        ("own", 1.0),
        ("pose", 2.0),
    ]
    assert edits[2].direction is own
    assert edits[1].direction is CATALOGUE["age"]


def test_single_forms() -> None:
    assert PARSER.parse(None) == []
    assert PARSER.parse("age") == [Edit(CATALOGUE["age"])]
    assert PARSER.parse(("age", 2)) == [Edit(CATALOGUE["age"], 2.0)]
    assert PARSER.parse(("age", "pose")) == [Edit(CATALOGUE["age"]), Edit(CATALOGUE["pose"])]


def test_unknown_name_lists_known_ones() -> None:
    with pytest.raises(InputError, match="'smiel', there are smile, age, pose; did you mean 'smile'"):
        PARSER.parse("smiel")
    with pytest.raises(InputError, match=r"there are none$"):
        EditParser({}, PARSER.generator).parse("smile")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, True])
def test_refuses_bad_strengths(bad: Any) -> None:
    with pytest.raises(InputError, match=r"finite number|edit"):
        PARSER.parse(("age", bad))
    with pytest.raises(InputError, match="finite number"):
        Edit(CATALOGUE["age"], bad)


@pytest.mark.parametrize("bad", [3.0, ["age", -3.0], {"age": 1}, b"age", [None, 7]])
def test_refuses_anything_else(bad: Any) -> None:
    with pytest.raises(InputError, match="edit"):
        PARSER.parse(bad)


@given(strength=st.floats(-1e9, 1e9))
def test_text_round_trip(strength: float) -> None:
    for text in (f"age={strength!r}", f" age = {strength!r} "):
        assert PARSER.parse(text) == [Edit(CATALOGUE["age"], strength)]


@pytest.mark.parametrize("text", ["", "=1", "age=", "age=x", "age=nan", "age=1=2", "age=5 degrees"])
def test_refuses_bad_text(text: str) -> None:
    with pytest.raises(InputError, match="expected NAME or NAME=STRENGTH"):
        PARSER.parse(text)


def test_refuses_endless_strengths() -> None:
    with pytest.raises(InputError, match="finite number"):
        PARSER.parse("age=1e999")


def test_edit_applies() -> None:
    ws = vector(1, 4, 8, seed=5)
    assert torch.equal(Edit(CATALOGUE["age"], 2.0).apply(ws), ws + 2 * CATALOGUE["age"].vector)
