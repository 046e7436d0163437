"""Single style channels: edits of them, and the channels that an attribute needs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from support.directions import SMILE
from support.golden import network
from torch import Tensor, nn

from pti_hub.edits import ChannelEffect, EditParser, StyleEdit, StyleMix, ganspace, rank_channels
from pti_hub.edits.style_space import style_edit
from pti_hub.errors import InputError
from pti_hub.generators import Generator, MobileStyleGAN, broadcast_ws, tuned_synthesis


def made(case: str, generator: MobileStyleGAN) -> Generator:
    return generator if case == "mobile" else network(case)


def with_style(generator: Generator, name: str, change: Tensor, w: Tensor) -> Tensor:
    """The picture whose styles from one affine map have a change added."""
    assert isinstance(generator, nn.Module)
    hook = generator.get_submodule(name).register_forward_hook(lambda module, args, s: s + change)
    try:
        return generator.synthesis(w)
    finally:
        hook.remove()


@pytest.mark.parametrize("case", ["mobile", "skip", "resnet", "orig", "t", "r"])
def test_an_edit_adds_deviations_to_one_channel_of_the_style(case: str, generator: MobileStyleGAN) -> None:
    network = made(case, generator)
    assert isinstance(network, nn.Module)
    space = ganspace(network, 2000, seed=5)
    z = torch.randn(2000, network.z_dim, generator=torch.Generator().manual_seed(5))
    ws, w = network.mapping(z), network.mapping(z[:1])
    before = network.synthesis(w)
    for i, layer in enumerate(network.style_layers()):
        u = len(layer.weight) - 1
        styles = network.get_submodule(layer.name)(ws)  # [2000, channels]
        change = torch.zeros(len(layer.weight))
        change[u] = -3 * styles[:, u].std()
        expected = with_style(network, layer.name, change, w)
        edit = style_edit(network, i, u, -3.0, space)
        assert edit.name == f"s:{i}_{u}"
        picture = tuned_synthesis(network, edit.apply(network, {}), w)
        torch.testing.assert_close(picture, expected, rtol=1e-3, atol=1e-4)
        assert not torch.equal(picture, before)
        assert torch.equal(network.synthesis(w), before)


def test_edits_add_up_on_tuned_weights(generator: MobileStyleGAN) -> None:
    space = ganspace(generator, 1000)
    (bias,) = (layer.bias for layer in generator.style_layers()[3:4])
    tuned = {bias: torch.randn(16), "conv.bias": torch.randn(16)}
    kept = {name: tensor.clone() for name, tensor in tuned.items()}
    one, other, again = (style_edit(generator, 3, u, a, space) for u, a in ((5, 2.0), (7, -1.0), (5, 0.5)))
    weights: Any = tuned
    for edit in (one, other, again):
        weights = edit.apply(generator, weights)
    expected = kept[bias].clone()
    expected[5] += 2.5 * one.deviation
    expected[7] -= other.deviation
    torch.testing.assert_close(weights, {**kept, bias: expected})
    assert all(torch.equal(tuned[name], kept[name]) for name in kept)


def test_names(words: EditParser, generator: MobileStyleGAN) -> None:
    space = ganspace(generator)
    given = ["s:3_5", "s:3_5=5", ("s:3_5", -2), "s:3_5=raw:2", "mix:bob"]
    *edits, mix = words.parse(given)
    assert edits == [style_edit(generator, 3, 5, a, space) for a in (1.0, 5.0, -2.0, 2.0)]
    assert isinstance(mix, StyleMix)
    assert words.parse(edits[0]) == edits[:1]
    calls = []
    kept = EditParser({}, generator, components=lambda: calls.append(1) or space)  # type: ignore[func-returns-value]
    assert kept.parse("s:3_5") == edits[:1]
    assert calls == [1]
    listed = EditParser({"s:3_5": SMILE.renamed("s:3_5")}, generator)
    assert not isinstance(listed.edit("s:3_5"), StyleEdit)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("s:9", "edit 's:9'; expected s:LAYER_CHANNEL, e.g. s:9_409"),
        ("s:9_4_layers2-3", "expected s:LAYER_CHANNEL"),
        ("s:3_-5", "expected s:LAYER_CHANNEL"),
        ("s:11_0", "no edit is named 's:11_0'; this generator has layers 0 to 10"),
        ("s:3_16", "no edit is named 's:3_16'; layer 3 has channels 0 to 15"),
        ("s:3_5=5deg", "a style has no angle"),
        ("s:3_5=1e999", "finite number"),
    ],
)
def test_bad_names(words: EditParser, edit: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        words.parse(edit)


def test_edits_of_other_generators_and_no_latents(generator: MobileStyleGAN) -> None:
    space = ganspace(generator, 100)
    edit = style_edit(generator, 0, 15, 1.0, space)
    with pytest.raises(
        InputError, match=r"'s:0_15' changes conv.modulation.bias\[15\], which this generator does not have"
    ):
        edit.apply(network("skip"), {})
    with pytest.raises(InputError, match=r"changes conv.modulation.bias\[-1\]"):
        dataclasses.replace(edit, channel=-1).apply(generator, {})
    with pytest.raises(InputError, match="no latents were given to rank channels at"):
        rank_channels(generator, lambda pictures: pictures.mean((1, 2, 3)), generator.w_avg[None][:0], space=space)


@pytest.mark.parametrize("case", ["mobile", "skip", "r"])
def test_effects_are_those_of_small_edits(case: str, generator: MobileStyleGAN) -> None:
    network = made(case, generator)
    space, w = ganspace(network, 1000), network.mapping(torch.randn(3, network.z_dim))
    tuned = {layer.bias: torch.randn(len(layer.weight)) for layer in network.style_layers()[:2]}

    def redness(pictures: Tensor) -> Tensor:
        return pictures[:, 0].square().mean((1, 2))

    ranked = rank_channels(network, redness, w, tuned, space)
    assert len(ranked) == sum(len(layer.weight) for layer in network.style_layers())
    assert [abs(c.effect) for c in ranked] == sorted((abs(c.effect) for c in ranked), reverse=True)
    for channel in ranked[:3]:
        sides = []
        for a in (-0.05, 0.05):
            weights = style_edit(network, channel.layer, channel.channel, a, space).apply(network, tuned)
            sides.append(redness(tuned_synthesis(network, weights, w)).mean().item())
        assert channel.effect == pytest.approx((sides[1] - sides[0]) / 0.1, rel=0.05)


def test_the_channel_that_makes_an_attribute_comes_first(generator: MobileStyleGAN) -> None:
    generator = generator.double()
    space, w = ganspace(generator, 1000), generator.mapping(torch.randn(1, 16).double())
    before = generator.synthesis(w)
    channels = [(i, u) for i, layer in enumerate(generator.style_layers()) for u in range(len(layer.weight))]
    edits = [style_edit(generator, i, u, 1e-5, space) for i, u in channels]
    changes = torch.cat([tuned_synthesis(generator, edit.apply(generator, {}), w) - before for edit in edits])
    # What only channel 5 of layer 3 changes.
    pattern = torch.linalg.pinv(changes.flatten(1), rtol=1e-6)[:, channels.index((3, 5))].reshape(before.shape)
    ranked = rank_channels(generator, lambda pictures: (pictures * pattern).sum((1, 2, 3)), w, space=space)
    assert ranked[0][:2] == (3, 5)
    assert ranked[0].effect == pytest.approx(1e5, rel=0.05)
    assert abs(ranked[1].effect) < 1e4
    assert ChannelEffect(3, 5, 1.0).name == "s:3_5"


def test_attributes_that_have_no_gradient(generator: MobileStyleGAN) -> None:
    ws, space = broadcast_ws(generator, generator.w_avg[None]), ganspace(generator, 100)
    for attribute, message in (
        (lambda pictures: pictures.detach().mean((1, 2, 3)), "has no gradient; expected a differentiable tensor"),
        (lambda pictures: pictures.mean(), r"has shape \[\]; expected a differentiable tensor \[1\]"),
    ):
        with pytest.raises(InputError, match=message):
            rank_channels(generator, attribute, ws, space=space)
