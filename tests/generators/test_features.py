"""What the layers of a generator see on the way to its picture."""

from __future__ import annotations

import copy

import pytest
import torch
from support.networks import tame_stylegan2, tame_stylegan3
from torch import Tensor, nn

from pti_hub import InputError
from pti_hub.generators import (
    Generator,
    MobileStyleGAN,
    StyleGAN2,
    StyleGAN3,
    broadcast_ws,
    tuned_features,
    w_statistics,
)
from pti_hub.generators.mobile_stylegan import StyledConv as MobileConv
from pti_hub.generators.stylegan2 import StyledConv

SIZES = [16, 32]


def residual_stylegan2() -> StyleGAN2:
    """A StyleGAN2 whose features are sums of two branches."""
    torch.manual_seed(0)
    made = StyleGAN2(64, z_dim=16, w_dim=16, channels=(16, 16, 16, 8, 8), mapping_layers=2, architecture="resnet")
    made.w_avg, made.w_std = w_statistics(made, num_samples=500)
    return made.eval().requires_grad_(False)


@pytest.fixture(params=["mobile", "skip", "resnet", "stylegan3"])
def network(request: pytest.FixtureRequest, generator: MobileStyleGAN) -> Generator:
    """One generator of 64² px of each architecture, with noise that matters where there is any."""
    made: nn.Module
    if request.param == "mobile":
        made = generator
    elif request.param == "skip":
        made = tame_stylegan2()
    else:
        made = residual_stylegan2() if request.param == "resnet" else tame_stylegan3()
    for module in made.modules():
        if isinstance(module, (MobileConv, StyledConv)):
            module.noise_strength.fill_(0.2)
    return made  # type: ignore[return-value]


def latents(generator: Generator, batch: int = 2) -> Tensor:
    return generator.mapping(torch.randn(batch, generator.z_dim, generator=torch.Generator().manual_seed(5)))


def used_ws(generator: Generator, size: int) -> int:
    """How many ws the first layers take, up to the features of this size."""
    if isinstance(generator, StyleGAN3):
        return {16: 2, 32: 4, 64: 5}[size]
    # One at 4², two at each resolution above.
    return 2 * size.bit_length() - 5


@pytest.mark.parametrize("sizes", [[16], [32], [16, 32]])
def test_features_have_the_resolutions_that_were_asked_for(network: Generator, sizes: list[int]) -> None:
    maps = network.features(latents(network), sizes)
    assert [(len(x), *x.shape[2:]) for x in maps] == [(2, size, size) for size in sizes]
    assert all(x.shape[1] >= 8 and x.isfinite().all() and x.std() > 0.01 for x in maps)


def test_features_asked_for_together_are_those_asked_for_alone(network: Generator) -> None:
    w = latents(network)
    together = network.features(w, SIZES)
    for size, x in zip(SIZES, together, strict=True):
        assert torch.equal(network.features(w, [size])[0], x)


def test_a_batch_gives_what_single_latents_give(network: Generator) -> None:
    w = latents(network)
    singles = zip(*(network.features(row[None], SIZES) for row in w), strict=True)
    for both, single in zip(network.features(w, SIZES), singles, strict=True):
        torch.testing.assert_close(both, torch.cat(single), rtol=1e-4, atol=1e-4)


def test_w_and_w_plus_agree(network: Generator) -> None:
    w = latents(network)
    for one, other in zip(network.features(w, SIZES), network.features(broadcast_ws(network, w), SIZES), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("size", SIZES)
def test_features_depend_on_the_layers_before_them_alone(network: Generator, size: int) -> None:
    ws = broadcast_ws(network, latents(network, 1)).clone()
    (before,) = network.features(ws, [size])
    used = used_ws(network, size)
    later = ws.clone()
    later[:, used:] += 1
    assert torch.equal(network.features(later, [size])[0], before)
    for i in range(used):
        earlier = ws.clone()
        earlier[:, i] += 1
        assert (network.features(earlier, [size])[0] - before).norm() > 1e-3 * before.norm(), i


def test_layers_behind_the_last_resolution_are_not_computed(network: Generator) -> None:
    w = latents(network, 1)
    before = network.features(w, [16])[0]
    picture = network.synthesis(w)
    names = {layer.bias.removesuffix(".bias") for layer in network.style_layers() if layer.w >= used_ws(network, 32)}
    with torch.no_grad():
        for name in names:
            network.get_submodule(name).weight.fill_(torch.nan)  # type: ignore[attr-defined]
    assert torch.equal(network.features(w, [16])[0], before)
    assert picture.isfinite().all() and not network.synthesis(w).isfinite().any()


def test_the_fixed_noise_is_in_the_features(network: Generator) -> None:
    w = latents(network, 1)
    before = network.features(w, SIZES)
    assert all(torch.equal(x, y) for x, y in zip(network.features(w, SIZES), before, strict=True))
    for noise in network.noise_maps():
        noise.neg_()
    changed = [not torch.equal(x, y) for x, y in zip(network.features(w, SIZES), before, strict=True)]
    assert changed == [bool(network.noise_maps())] * 2


def test_gradients_reach_the_latent(network: Generator) -> None:
    w = latents(network, 1).requires_grad_()
    total = sum(x.square().mean() for x in network.features(w, SIZES))
    assert isinstance(total, Tensor)
    (slope,) = torch.autograd.grad(total, [w])
    step = slope / slope.norm() * 1e-2

    def moved(sign: int) -> float:
        return float(sum(x.square().mean() for x in network.features(w.detach() + sign * step, SIZES)))

    assert moved(1) - moved(-1) == pytest.approx(2e-2 * float(slope.norm()), rel=0.05)


def test_tuned_features_are_those_of_a_tuned_generator(network: Generator) -> None:
    w = latents(network)
    torch.manual_seed(1)
    own = {name: p.clone() for name, p in network.named_parameters()}
    before = network.features(w, SIZES)
    weights = {name: p + 0.1 * torch.randn_like(p) for name, p in own.items() if not name.startswith("mapping_network")}
    tuned = copy.deepcopy(network)
    tuned.load_state_dict(weights, strict=False)  # type: ignore[attr-defined]
    found = tuned_features(network, weights, w, SIZES)
    for x, y, z in zip(found, tuned.features(w, SIZES), before, strict=True):
        assert torch.equal(x, y)
        assert (x - z).norm() > 0.01 * z.norm()
    assert all(torch.equal(p, own[name]) for name, p in network.named_parameters())
    assert all(torch.equal(x, y) for x, y in zip(network.features(w, SIZES), before, strict=True))


def test_tuned_features_without_weights_are_the_generators_own(network: Generator) -> None:
    w = latents(network)
    for x, y in zip(tuned_features(network, {}, w, SIZES), network.features(w, SIZES), strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize("sizes", [[24], [16, 24], [32, 128], [2]])
def test_a_resolution_that_no_layer_has(network: Generator, sizes: list[int]) -> None:
    with pytest.raises(InputError) as caught:
        network.features(latents(network, 1), sizes)
    message = str(caught.value)
    assert message.startswith(f"features of {sizes} pixels; this generator has some of [")
    assert "16, 32" in message and "\n" not in message


def test_a_latent_of_another_shape(network: Generator) -> None:
    with pytest.raises(InputError, match=r"latent of shape \[1, 15\]"):
        network.features(torch.zeros(1, 15), SIZES)


@pytest.mark.parametrize("architecture", ["skip", "resnet"])
@pytest.mark.parametrize("size", SIZES)
def test_the_first_layers_are_a_smaller_generator(architecture: str, size: int) -> None:
    made = tame_stylegan2() if architecture == "skip" else residual_stylegan2()
    smaller = StyleGAN2(
        size,
        z_dim=16,
        w_dim=16,
        channels=[16, 16, 16, 8, 8][: size.bit_length() - 2],
        mapping_layers=2,
        architecture=architecture,  # type: ignore[arg-type]
    ).eval()
    state, known = smaller.state_dict(), made.state_dict()
    smaller.load_state_dict({name: known.get(name, t) for name, t in state.items()})
    ws = latents(made)[:, None] + 0.3 * torch.randn(1, made.num_ws, 16, generator=torch.Generator().manual_seed(1))
    first = ws[:, : smaller.num_ws]
    assert torch.equal(made.features(ws, [size])[0], smaller.features(first, [size])[0])
    if architecture == "skip":
        assert torch.equal(made.synthesis(ws, resolution=size), smaller.synthesis(first))


def test_stylegan3s_features_are_those_of_its_layers_without_the_margins() -> None:
    made = tame_stylegan3()
    seen: dict[int, list[Tensor]] = {}
    for i, layer in enumerate(made.layers):
        layer.register_forward_hook(lambda _, __, x, i=i: seen.setdefault(i, []).append(x))
    w = latents(made)
    maps = made.features(w, [16, 32, 64])
    for x, i in zip(maps, (used_ws(made, size) - 2 for size in (16, 32, 64)), strict=True):
        (whole,) = seen[i]
        margin = (whole.shape[2] - x.shape[2]) // 2
        assert margin == 4
        assert torch.equal(x, whole[..., margin : margin + x.shape[2], margin : margin + x.shape[3]])
