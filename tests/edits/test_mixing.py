"""The style of another."""

from __future__ import annotations

import pytest
import torch
from support.directions import SMILE

from pti_hub.edits import EditParser, StyleMix
from pti_hub.errors import InputError
from pti_hub.generators import MobileStyleGAN


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


def test_layers_and_sources_of_another_generator() -> None:
    with pytest.raises(InputError, match="layers 3 to 8"):
        StyleMix("mix:bob", torch.ones(16), 3, 8).apply(torch.randn(1, 8, 16))
    with pytest.raises(InputError, match=r"source 'mix:bob' of shape \[7, 16\]"):
        StyleMix("mix:bob", torch.ones(7, 16), 3, 5).apply(torch.randn(1, 8, 16))
