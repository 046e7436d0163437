"""What can be named as an edit beyond the catalogue: layers, GANSpace, SeFa, styles, angles."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pti_hub.edits import Direction, Edit, EditParser, StyleMix, YawEdit, ganspace, sefa
from pti_hub.edits.yaw import TOLERANCE
from pti_hub.errors import FaceError, InputError
from pti_hub.generators import MobileStyleGAN

SMILE = Direction("smile", torch.arange(16.0))


@pytest.fixture
def words(generator: MobileStyleGAN) -> EditParser:
    return EditParser({"smile": SMILE}, generator, {"bob": torch.ones(16), "eve": torch.randn(8, 16)})


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


@pytest.mark.parametrize("name", ["bob", "eve"])
def test_style_mixing_takes_some_layers_of_another(words: EditParser, name: str) -> None:
    ws, source = torch.randn(2, 8, 16), words.identities[name].expand(8, 16)
    (mix,) = words.parse(f"mix:{name}_layers3-5")
    mixed = mix.apply(ws)  # type: ignore[union-attr]
    torch.testing.assert_close(mixed[:, 3:6], source[3:6].expand(2, 3, 16))
    assert torch.equal(mixed[:, :3], ws[:, :3]) and torch.equal(mixed[:, 6:], ws[:, 6:])


def test_a_style_of_someone_with_several_photographs(generator: MobileStyleGAN) -> None:
    words = EditParser({}, generator, {"bob/1": torch.ones(16), "bob/2": torch.zeros(16), "a=b": torch.zeros(16)})
    mix = words.edit("mix:bob")
    assert isinstance(mix, StyleMix) and mix.source is words.identities["bob/1"]
    (other,) = words.parse(("mix:a=b", "2"))
    assert isinstance(other, StyleMix) and (other.source is words.identities["a=b"]) and other.strength == 2.0


def test_half_a_style(words: EditParser) -> None:
    ws = torch.randn(1, 8, 16)
    (mix,) = words.parse(("mix:bob", 0.5))
    torch.testing.assert_close(mix.apply(ws), (ws + 1) / 2)  # type: ignore[union-attr]


def test_a_random_style_is_its_seed_s(words: EditParser) -> None:
    one, same, other = (words.edit(f"mix:seed{seed}") for seed in (4, 4, 5))
    assert isinstance(one, StyleMix) and isinstance(same, StyleMix) and isinstance(other, StyleMix)
    assert torch.equal(one.source, same.source)
    assert not torch.equal(one.source, other.source)


def test_order_matters_to_a_style(words: EditParser) -> None:
    ws = torch.randn(1, 8, 16)
    first, second = (words.parse(order) for order in (["smile", "mix:bob"], ["mix:bob", "smile"]))
    for edits, expected in ((first, torch.ones(1, 8, 16)), (second, 1 + SMILE.vector.expand(1, 8, 16))):
        moved = ws
        for edit in edits:
            moved = edit.apply(moved)  # type: ignore[union-attr]
        torch.testing.assert_close(moved, expected)


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


def test_layers_and_sources_of_another_generator() -> None:
    with pytest.raises(InputError, match="layers 3 to 8"):
        StyleMix("mix:bob", torch.ones(16), 3, 8).apply(torch.randn(1, 8, 16))
    with pytest.raises(InputError, match=r"source 'mix:bob' of shape \[7, 16\]"):
        StyleMix("mix:bob", torch.ones(7, 16), 3, 5).apply(torch.randn(1, 8, 16))


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
