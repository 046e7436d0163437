"""MobileStyleGAN: its gradients, its slow forms, and its protocol."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from support.networks import check_style_layers

from pti_hub import InputError
from pti_hub.generators import MobileStyleGAN, broadcast_ws, tuned_synthesis


@pytest.fixture
def w(generator: MobileStyleGAN) -> torch.Tensor:
    return generator.mapping(torch.randn(2, 16, generator=torch.Generator().manual_seed(5)))


def test_gradients_of_the_synthesis(generator: MobileStyleGAN, w: torch.Tensor) -> None:
    network = generator.double()
    weights = {"conv.weight": network.conv.weight[:, :, :, :].clone().requires_grad_()}
    ws = w[:1].double().requires_grad_()
    direction = {name: torch.randn_like(p) for name, p in weights.items()}

    def loss(step: float) -> torch.Tensor:
        moved = {name: p + step * direction[name] for name, p in weights.items()}
        return tuned_synthesis(network, moved, ws, resolution=32).square().mean()

    expected = (loss(1e-6) - loss(-1e-6)) / 2e-6
    loss(0.0).backward()
    found = (weights["conv.weight"].grad * direction["conv.weight"]).sum()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)


def test_a_batch_gives_what_single_pictures_give(generator: MobileStyleGAN, w: torch.Tensor) -> None:
    single = torch.cat([generator.synthesis(row[None]) for row in w])
    torch.testing.assert_close(generator.synthesis(w), single, rtol=0, atol=1e-5)


def test_w_and_w_plus_agree(generator: MobileStyleGAN, w: torch.Tensor) -> None:
    ws = broadcast_ws(generator, w)
    assert ws.shape == (2, generator.num_ws, 16)
    torch.testing.assert_close(generator.synthesis(ws), generator.synthesis(w), rtol=0, atol=0)


@pytest.mark.parametrize("resolution", [32, 16, 8])
def test_smaller_pictures_are_the_full_one_box_filtered(
    generator: MobileStyleGAN, w: torch.Tensor, resolution: int
) -> None:
    full = generator.synthesis(w)
    expected = F.avg_pool2d(full, generator.resolution // resolution)
    torch.testing.assert_close(generator.synthesis(w, resolution=resolution), expected, rtol=0, atol=1e-5)


def test_each_w_reaches_the_picture(generator: MobileStyleGAN, w: torch.Tensor) -> None:
    ws = broadcast_ws(generator, w[:1]).clone()
    base = generator.synthesis(ws)
    for i in range(generator.num_ws):
        moved = ws.clone()
        moved[:, i] += 0.5
        assert (generator.synthesis(moved) - base).abs().max() > 1e-4, i


def test_noise_modes(generator: MobileStyleGAN, w: torch.Tensor) -> None:
    const = generator.synthesis(w)
    assert torch.equal(const, generator.synthesis(w, noise=generator.noise_maps()))
    assert not torch.equal(generator.synthesis(w, noise_mode="random"), generator.synthesis(w, noise_mode="random"))
    none = generator.synthesis(w, noise_mode="none")
    assert torch.equal(none, generator.synthesis(w, noise_mode="none"))
    assert not torch.equal(none, const)


def test_truncation(generator: MobileStyleGAN) -> None:
    z = torch.randn(4, 16)
    torch.testing.assert_close(generator.mapping(z, truncation=0.0), generator.w_avg.expand(4, -1))
    half = generator.mapping(z, truncation=0.5)
    torch.testing.assert_close(half, (generator.mapping(z) + generator.w_avg) / 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: g.synthesis(torch.zeros(1, 15)), r"shape \[1, 15\]; expected \[B, 16\] \(W\) or \[B, 8, 16\]"),
        (lambda g: g.synthesis(torch.zeros(1, 7, 16)), r"shape \[1, 7, 16\]"),
        (lambda g: g.synthesis(torch.zeros(1, 16), noise_mode="loud"), "noise_mode='loud'"),
        (lambda g: g.synthesis(torch.zeros(1, 16), noise=[]), "0 noise maps; expected 7"),
        (lambda g: g.synthesis(torch.zeros(1, 16), resolution=24), "resolution=24; expected 64"),
        (lambda g: g.synthesis(torch.zeros(1, 16), resolution=128), "resolution=128"),
        (lambda g: g.mapping(torch.zeros(16)), r"z of shape \[16\]"),
        (lambda g: MobileStyleGAN(channels=(16, 6)), r"channels=\[16, 6\]"),
    ],
)
def test_bad_arguments(generator: MobileStyleGAN, call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(generator)  # type: ignore[operator]


def test_style_layers_are_the_affine_maps_in_order_of_use(generator: MobileStyleGAN) -> None:
    check_style_layers(generator)
