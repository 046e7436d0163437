"""Edits as lines of text, and the sliders beside them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pti_hub import InputError
from pti_hub.app.edit_lines import MOST_LINES, read_lines, strength_of, with_drags, with_strength
from pti_hub.edits import Direction, Edit

NAMES = ("smile", "age", "pose", "mix:seed42")
AMOUNTS = st.sampled_from(["1", "-2.5", "raw:1", "10deg", "", " 3 ", "x", "1=2"])
EDITS = st.one_of(
    st.sampled_from(NAMES),
    st.builds("{}={}".format, st.sampled_from(NAMES), AMOUNTS),
    st.builds(" {} = {}".format, st.sampled_from(NAMES), AMOUNTS),
    st.just("a person with a beard"),
)
LINES = st.lists(EDITS, max_size=8)
NAME = st.sampled_from(["smile", "age", "curly"])
STRENGTHS = st.floats(-3, 3)


def name_of(line: str) -> str:
    return line.partition("=")[0].strip()


@given(st.lists(st.text(max_size=10), max_size=MOST_LINES))
def test_lines_are_read_without_what_is_empty(lines: list[str]) -> None:
    text = "\n".join(lines)
    expected = [line.strip() for line in text.splitlines() if line.strip()]
    if len(expected) > MOST_LINES:
        with pytest.raises(InputError, match=f"expected at most {MOST_LINES}"):
            read_lines(text)
    else:
        assert read_lines(text) == expected
        assert read_lines("\r\n \n".join(expected)) == expected


def test_too_many_lines_are_refused() -> None:
    assert len(read_lines("smile\n\n" * MOST_LINES)) == MOST_LINES
    with pytest.raises(InputError, match=rf"^{MOST_LINES + 1} edits; expected at most {MOST_LINES}$"):
        read_lines("smile\n" * (MOST_LINES + 1))


@given(LINES, NAME, STRENGTHS)
def test_a_slider_stands_where_it_was_put(lines: list[str], name: str, strength: float) -> None:
    moved = with_strength(lines, name, strength)
    assert strength_of(moved, name) == float(f"{strength:g}")
    assert sum(name_of(line) == name for line in moved) == bool(strength)


@given(LINES, NAME, STRENGTHS)
def test_other_edits_stay_in_order(lines: list[str], name: str, strength: float) -> None:
    before, moved = list(lines), with_strength(lines, name, strength)
    assert [line for line in moved if name_of(line) != name] == [line for line in lines if name_of(line) != name]
    assert lines == before


@given(LINES, NAME, STRENGTHS.filter(bool))
def test_an_edit_keeps_its_place_and_a_new_one_comes_last(lines: list[str], name: str, strength: float) -> None:
    names = [name_of(line) for line in lines]
    place = names.index(name) if name in names else len(lines)
    assert with_strength(lines, name, strength)[place] == f"{name}={strength:g}"


@given(LINES, NAME, STRENGTHS, STRENGTHS)
def test_the_last_move_counts(lines: list[str], name: str, first: float, last: float) -> None:
    twice = with_strength(with_strength(lines, name, first or 1), name, last)
    assert twice == with_strength(lines, name, last)


@pytest.mark.parametrize(
    ("lines", "strength"),
    [
        ([], 0.0),
        (["smile"], 1.0),
        ([" smile = -1.5 "], -1.5),
        (["smile=raw:1"], 0.0),
        (["smile=10deg"], 0.0),
        (["smile="], 0.0),
        (["smiles=2", "smile=0.5", "smile=3"], 0.5),
        (["a smile=2"], 0.0),
    ],
)
def test_where_a_slider_stands(lines: list[str], strength: float) -> None:
    assert strength_of(lines, "smile") == strength


def test_drags_are_looked_up_in_their_places() -> None:
    direction = Direction("drag1", torch.ones(16))
    first, edit, last = with_drags(["smile=1", " drag1 = -0.5", "drag2=1"], {"drag1": direction})
    assert (first, last) == ("smile=1", "drag2=1")
    assert isinstance(edit, Edit)
    assert (edit.direction, edit.strength) == (direction, -0.5)
    with pytest.raises(InputError, match=r"^edit 'drag1=1deg'; expected a drag's strength, e\.g\. drag1=0\.5$"):
        with_drags(["drag1=1deg"], {"drag1": direction})
