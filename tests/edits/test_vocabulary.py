"""What can be named as an edit beyond the catalogue: layers, GANSpace, SeFa, angles."""

from __future__ import annotations

import pytest
import torch
from support.directions import SMILE
from torch import Tensor

from pti_hub.edits import Direction, Edit, EditParser, MeasuredEdit, Step, YawEdit, ganspace, sefa
from pti_hub.errors import InputError
from pti_hub.faces import MEASURES
from pti_hub.generators import MobileStyleGAN


def vector(words: EditParser, name: str) -> Tensor:
    edit = words.edit(name)
    assert isinstance(edit, Edit)
    return edit.direction.vector


def test_a_range_of_layers(words: EditParser) -> None:
    moved = vector(words, "smile_layers2-4")
    assert torch.equal(moved[2:5], SMILE.vector.expand(3, 16))
    assert not moved[:2].any() and not moved[5:].any()


def test_a_listed_name_comes_first(generator: MobileStyleGAN) -> None:
    odd = Direction("smile_layers2-4", torch.ones(16))
    assert vector(EditParser({odd.name: odd}, generator), odd.name) is odd.vector


def test_components(words: EditParser, generator: MobileStyleGAN) -> None:
    components = ganspace(generator)
    assert torch.equal(vector(words, "pc3"), components.direction(3).vector)
    assert torch.equal(vector(words, "pc3_layers0-2"), components.direction(3).layers(0, 2, 8).vector)
    calls = []
    kept = EditParser({}, generator, components=lambda: calls.append(1) or components)  # type: ignore[func-returns-value]
    assert torch.equal(vector(kept, "pc0"), components.direction(0).vector)
    assert calls == [1]


def test_eigenvectors_are_those_of_the_layers_named(words: EditParser, generator: MobileStyleGAN) -> None:
    assert torch.equal(vector(words, "sefa1"), sefa(generator, 2)[1].vector)
    assert torch.equal(vector(words, "sefa1_layers2-4"), sefa(generator, 2, 2, 4)[1].vector)


def test_words(generator: MobileStyleGAN) -> None:
    asked: list[str] = []

    def direction(phrase: str) -> Direction:
        asked.append(phrase)
        return Direction(phrase, torch.ones(16))

    words = EditParser({"smile": SMILE, "big nose": SMILE}, generator, words=direction)
    found = words.parse(["a person with a beard", "text:hat=-2", ("red lips", 0.5), "big nose", "text:smile", "smile"])
    assert asked == ["a person with a beard", "hat", "red lips", "smile"]
    assert [edit.strength for edit in found if isinstance(edit, Edit)] == [1.0, -2.0, 0.5, 1.0, 1.0, 1.0]
    assert found[3] == found[5] == Edit(SMILE)  # a name comes first, unless it follows text:
    for slip in ("smile -2", "smile, age=-2", "smile broadly"):
        with pytest.raises(InputError, match=r"expected NAME or NAME=STRENGTH.*text:"):
            words.parse(slip)
    with pytest.raises(InputError, match="no edit is named 'simle'"):
        words.parse("simle")
    with pytest.raises(InputError, match="no edit is named 'a hat'"):
        EditParser({}, generator).parse("a hat")


@pytest.mark.parametrize("text", ["smile=5deg", "smile=5°", ("smile", "5 deg"), "smile = +5.0 DEG"])
def test_angles(words: EditParser, text: object) -> None:
    assert words.parse(text) == [YawEdit(SMILE, 5.0)]


@pytest.mark.parametrize(
    ("written", "strength"), [("wide", 1.0), ("wide=-2", -2.0), (("wide", 0.5), 0.5), (("wide", "2"), 2.0)]
)
def test_steps_are_measured_where_the_direction_has_them(
    generator: MobileStyleGAN, written: object, strength: float
) -> None:
    wide = Direction("wide", torch.ones(16), step=Step(MEASURES["mouth_width"], 0.1))
    words = EditParser({"wide": wide, "smile": SMILE}, generator)
    assert words.parse(written) == [MeasuredEdit(wide, strength)]
    assert words.parse(["wide=5deg", "smile=2"]) == [YawEdit(wide, 5.0), Edit(SMILE, 2.0)]
    # The plain vector: asked for, limited to layers, or given as an object.
    assert words.parse("wide=raw:-2") == words.parse(("wide", "raw: -2")) == [Edit(wide, -2.0)]
    assert words.parse(wide) == [Edit(wide)]
    (limited,) = words.parse("wide_layers0-3")
    assert isinstance(limited, Edit)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("smile=raw:5deg", "give raw:5 or 5deg"),
        ("smile=raw:", "expected NAME or NAME=STRENGTH"),
        ("mix:ghost", "no identity is named 'ghost', there are bob, eve"),
        ("mix:bob=5deg", "has no angle"),
        ("pc99", "no edit is named 'pc99'; there are pc0 to 15"),
        ("sefa16_layers0-2=2", "no edit is named 'sefa16_layers0-2'; there are sefa0 to 15"),
        (("smile", None), "expected a name"),
        ("smile_layers4-2", "layers 4 to 2"),
        ("smile_layers4-8", "layers 4 to 8"),
        ("smiel_layers1-2", "no edit is named 'smiel'.*did you mean 'smile'"),
        (("smile", "5 degrees"), "no edit is named '5 degrees'"),
        ("smile=1e999deg", "finite number"),
    ],
)
def test_what_cannot_be_is_one_line(words: EditParser, edit: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        words.parse(edit)
    assert "\n" not in str(caught.value)
