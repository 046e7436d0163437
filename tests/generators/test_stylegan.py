"""StyleGAN2 and StyleGAN3 against what their authors' code computes, and fast operations against the slow ones."""

from __future__ import annotations

import pytest
import torch
from support.golden import CASES, golden, network
from support.networks import check_style_layers

from pti_hub import InputError
from pti_hub.checkpoints.nvidia import nvidia_names
from pti_hub.generators import Generator, StyleGAN2, StyleGAN3, broadcast_ws
from pti_hub.generators.stylegan2 import StyledConv, modulated_conv, modulated_conv_reference


@CASES
def test_mapping_is_nvidias(case: str) -> None:
    made, tensors = network(case), golden(case)
    w = made.mapping(tensors["z"], c=tensors["c"] if made.c_dim else None)
    torch.testing.assert_close(w, tensors["w"], rtol=1e-4, atol=1e-5)


@CASES
@pytest.mark.parametrize("batch", [1, 2])
def test_pictures_are_nvidias(case: str, batch: int) -> None:
    made, tensors = network(case), golden(case)
    picture = torch.cat([made.synthesis(ws) for ws in tensors["ws"].split(batch)])
    assert (picture - tensors["img"]).norm() < 1e-5 * tensors["img"].norm()


@CASES
def test_gradients_are_nvidias(case: str) -> None:
    made, tensors = network(case), golden(case)
    ws = tensors["ws"].clone().requires_grad_()
    for one, cotangent in zip(ws.split(1), tensors["cotangent"].split(1), strict=True):
        (made.synthesis(one) * cotangent).sum().backward()
    assert ws.grad is not None
    assert (ws.grad - tensors["grad_ws"]).norm() < 1e-4 * tensors["grad_ws"].norm()
    names = nvidia_names(made)
    compared = 0
    for name, parameter in made.named_parameters():
        if (theirs := tensors.get(f"grads/{names[name]}")) is not None:
            assert parameter.grad is not None
            difference = parameter.grad.reshape(theirs.shape) - theirs
            assert difference.norm() < 1e-4 * theirs.norm() + 1e-5, name
            compared += 1
    assert compared >= 2


@CASES
def test_a_generator_fulfils_the_protocol(case: str) -> None:
    made: Generator = network(case)
    w = made.mapping(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)), truncation=0.5)
    picture = made.synthesis(w)
    assert picture.shape == (2, 3, made.resolution, made.resolution)
    torch.testing.assert_close(made.synthesis(broadcast_ws(made, w)), picture)
    assert made.synthesis(w, resolution=8).shape == (2, 3, 8, 8)
    assert {layer.w for layer in made.style_layers()} == set(range(made.num_ws))
    maps = [torch.zeros_like(n) for n in made.noise_maps()]
    torch.testing.assert_close(made.synthesis(w, noise=maps), made.synthesis(w, noise_mode="none"))
    if maps:
        assert not torch.equal(made.synthesis(w, noise_mode="random"), made.synthesis(w, noise_mode="random"))
    with pytest.raises(InputError, match=r"latent of shape \[2, 3\]"):
        made.synthesis(torch.zeros(2, 3))
    with pytest.raises(InputError, match="noise maps; expected"):
        made.synthesis(w, noise=[*maps, torch.zeros(1, 1, 4, 4)])
    with pytest.raises(InputError, match="noise_mode='loud'"):
        made.synthesis(w, noise_mode="loud")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="resolution=7; expected"):
        made.synthesis(w, resolution=7)
    with pytest.raises(InputError, match=r"z of shape \[2, 5\]; expected \[B, 8\]"):
        made.mapping(torch.zeros(2, 5))


@CASES
def test_style_layers_are_the_affine_maps_in_order_of_use(case: str) -> None:
    made = network(case)
    check_style_layers(made)
    if case == "skip":
        # Wu et al. (2021) count 26 layers at 1024², so 3 per resolution, but 2 at 4².
        assert [layer.w for layer in made.style_layers()] == [0, 1, 1, 2, 3, 3, 4, 5]


def test_classes_come_up_as_often() -> None:
    made = network("resnet")
    z = torch.randn(3000, 8, generator=torch.Generator().manual_seed(1))
    w = made.mapping(z)
    share = [
        (w == made.mapping(z, c=torch.eye(3)[[i] * 3000])).all(1).float().mean().item()  # of each class
        for i in range(3)
    ]
    assert sum(share) == pytest.approx(1)
    assert max(share) < 0.37
    with pytest.raises(InputError, match=r"c of shape \[1, 2\]; expected \[3000, 3\]"):
        made.mapping(z, c=torch.zeros(1, 2))


def test_an_early_stop_is_the_sum_so_far() -> None:
    made = network("skip")
    assert made.stops_early
    w = made.mapping(torch.randn(1, 8))
    blocks = list(made.blocks)
    early = made.synthesis(w, resolution=8)
    # What the layers above do is of no account.
    with torch.no_grad():
        for parameter in blocks[2].parameters():
            parameter.add_(1)
    torch.testing.assert_close(made.synthesis(w, resolution=8), early)
    other = network("resnet")
    assert not other.stops_early
    full = other.synthesis(other.w_avg[None])
    torch.testing.assert_close(
        other.synthesis(other.w_avg[None], resolution=8), torch.nn.functional.avg_pool2d(full, 2)
    )


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_modulated_convolution_is_its_slow_form(demodulate: bool, up: int, batch: int) -> None:
    random = torch.Generator().manual_seed(0)
    x, weight, styles, bias = (
        torch.randn(shape, generator=random, dtype=torch.float64).requires_grad_()
        for shape in ((batch, 5, 6, 6), (4, 5, 3, 3), (batch, 5), (4,))
    )
    taps = torch.tensor([0.125, 0.375, 0.375, 0.125], dtype=torch.float64)
    slow = modulated_conv_reference(x, weight, styles, demodulate, up, taps) * 1.3 + bias[:, None, None]
    fast = modulated_conv(x, weight, styles, demodulate, up, taps, gain=1.3, bias=bias)
    torch.testing.assert_close(fast, slow)
    cotangent = torch.randn(slow.shape, generator=random, dtype=torch.float64)
    leaves = [x, weight, styles, bias]
    for ours, theirs in zip(
        torch.autograd.grad(fast, leaves, cotangent), torch.autograd.grad(slow, leaves, cotangent), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("clamp", [None, 0.7])
def test_a_styled_layer_is_its_slow_form(up: int, clamp: float | None) -> None:
    torch.manual_seed(0)
    layer = StyledConv(3, 4, 5, 8, up, clamp).double()
    x, w = torch.randn(1, 3, 8 // up, 8 // up).double(), torch.randn(1, 5).double()
    noise = torch.randn(1, 1, 8, 8).double()
    with torch.no_grad():
        layer.noise_strength.fill_(0.3)
        layer.bias.normal_()
    fast, slow = layer(x, w, noise, 0.5), layer.reference(x, w, noise, 0.5)
    torch.testing.assert_close(fast, slow)
    parameters = list(layer.parameters())
    cotangent = torch.randn_like(slow)
    for ours, theirs in zip(
        torch.autograd.grad(fast, parameters, cotangent),
        torch.autograd.grad(slow, parameters, cotangent),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_half_precision_does_not_overflow() -> None:
    x, weight = torch.randn(1, 8, 6, 6).half(), torch.randn(4, 8, 3, 3)
    styles = torch.randn(1, 8) * 1e4
    exact = modulated_conv_reference(x.float(), weight, styles)
    half = modulated_conv(x, weight, styles)
    assert half.dtype == torch.float16
    assert (half.float() - exact).norm() < 5e-3 * exact.norm()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 48}, "resolution=48; expected a power of two from 8 to 4096"),
        ({"resolution": 16, "channels": [8]}, r"channels=\[8\]; expected 3 numbers"),
        ({"resolution": 16, "channels": [8, 8, 10**12]}, "expected 3 numbers from 1 to 2048"),
        ({"resolution": 16, "z_dim": 10**9}, "z_dim=1000000000.*expected 1 to 2048"),
        ({"resolution": 16, "architecture": "unet"}, "architecture='unet'; expected 'skip'"),
        ({"resolution": 16, "conv_clamp": 0}, "conv_clamp=0; expected a number above zero"),
    ],
)
def test_options_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        StyleGAN2(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 100}, "resolution=100.*expected a power of two"),
        ({"num_layers": 10**9}, "num_layers=1000000000"),
        ({"num_critical": 14}, "fewer critical layers than the 14"),
        ({"filter_size": 10**6}, "filter_size=1000000.*expected 1 to 16"),
        ({"margin_size": 10**6}, "margins to 256"),
        ({"first_cutoff": 0}, "first_cutoff=0, .*expected the cut-off below the stop band"),
        ({"first_stopband": float("nan")}, "first_stopband=nan"),
        ({"last_stopband_rel": 1 / 2048}, "and 1 to 4"),
        ({"lrelu_upsampling": 16}, "lrelu_upsampling=16"),
        ({"mapping_layers": 2048}, "mapping_layers=2048, .*layers to 32"),
        ({"conv_clamp": {}}, "conv_clamp={}; expected a number above zero, or None"),
    ],
)
def test_options_of_stylegan3_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        StyleGAN3(**{"resolution": 16, "channel_max": 8, **options})  # type: ignore[arg-type]
