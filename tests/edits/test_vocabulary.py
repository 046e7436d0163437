"""What can be named as an edit beyond the catalogue: layers, GANSpace, SeFa, angles."""

from __future__ import annotations

import pytest
import torch
from support.directions import SMILE
from torch import Tensor

from pti_hub.edits import Direction, Edit, EditParser, YawEdit, ganspace, sefa
from pti_hub.errors import InputError
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


@pytest.mark.parametrize("text", ["smile=5deg", "smile=5°", ("smile", "5 deg"), "smile = +5.0 DEG"])
def test_angles(words: EditParser, text: object) -> None:
    assert words.parse(text) == [YawEdit(SMILE, 5.0)]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
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
