"""Adam in the eigenbasis of what convolutions see."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pti_hub.generators import MobileStyleGAN, tuned_synthesis
from pti_hub.optim import ConvolutionMoments, Eigenbasis, EigenbasisAdam


def rotation(size: int, seed: int) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)))[0]


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3]), st.integers(0, 100))
def test_there_and_back(outputs: int, inputs: int, kernel: int, seed: int) -> None:
    basis = Eigenbasis(rotation(outputs, seed), rotation(inputs, seed + 1))
    weight = torch.randn(outputs, inputs, kernel, kernel)
    coordinates = basis.to_basis(weight)
    assert coordinates.shape == (kernel**2, outputs, inputs)
    torch.testing.assert_close(basis.from_basis(coordinates, weight.shape), weight)
    torch.testing.assert_close(coordinates.norm(), weight.norm())


@pytest.mark.parametrize("transposed", [False, True])
def test_the_bases_are_those_of_inputs_and_gradients(transposed: bool) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 3, 8, 8), torch.randn(4, 3, 3, 3).requires_grad_()
    # As modulation does: a scale per input, and one per output.
    by_input, by_output = torch.tensor([1.0, 5.0, 0.2]), torch.tensor([3.0, 1.0, 0.5, 2.0])
    gradient = torch.randn(1, 4, 10, 10) if transposed else torch.randn(1, 4, 8, 8)
    with ConvolutionMoments({"w": weight, "other": torch.ones(3, requires_grad=True)}) as moments:
        kernel = weight * by_output[:, None, None, None] * by_input[:, None, None]
        out = F.conv_transpose2d(x, kernel.transpose(0, 1)) if transposed else F.conv2d(x, kernel, padding=1)
        out.backward(gradient)
    basis = moments.eigenbases()["w"]
    for vectors, seen, scale in ((basis.inputs, x, by_input), (basis.outputs, gradient, by_output)):
        rows = (seen * scale[:, None, None]).flatten(2)[0]
        diagonal = vectors.T @ rows @ rows.T @ vectors
        assert (diagonal - diagonal.diagonal().diag()).abs().max() < 1e-4 * diagonal.max()
        torch.testing.assert_close(vectors.T @ vectors, torch.eye(len(vectors)), atol=1e-5, rtol=0)


def test_the_bases_are_exact_where_the_network_is_rounded() -> None:
    torch.manual_seed(0)
    weight = torch.randn(8, 16, 1, 1).requires_grad_()
    x = torch.randn(1, 16, 64, 64) * torch.logspace(0, -2, 16)[:, None, None]
    x = torch.einsum("dc,bchw->bdhw", rotation(16, 2), x).bfloat16()
    with ConvolutionMoments({"w": weight}) as moments, torch.autocast("cpu", torch.bfloat16):
        F.conv2d(x, weight).square().mean().backward()
    vectors, rows = moments.eigenbases()["w"].inputs, x.double().flatten(2)[0]
    # The kernel is the weight itself, so all scales are equal.
    moment = vectors.T.double() @ rows @ rows.T @ vectors.double()
    deviation = moment / moment.diagonal().sqrt().outer(moment.diagonal().sqrt()) - torch.eye(16)
    assert deviation.abs().max() < 0.02


def test_there_is_no_basis_of_values_that_are_not_finite() -> None:
    weight = torch.randn(2, 2, 1, 1).requires_grad_()
    with ConvolutionMoments({"w": weight}) as moments:
        F.conv2d(torch.full((1, 2, 4, 4), torch.nan), weight).sum().backward()
    assert moments.eigenbases() == {}


def test_convolutions_whose_outputs_see_one_input_have_no_basis(generator: MobileStyleGAN) -> None:
    theta = {name: p.clone().requires_grad_() for name, p in generator.named_parameters()}
    with ConvolutionMoments(theta) as moments:
        tuned_synthesis(generator, theta, generator.w_avg[None]).square().mean().backward()
    with_basis = {name for name, p in theta.items() if p.ndim == 4 and name.endswith("weight")}
    assert moments.eigenbases().keys() == with_basis
    assert len(with_basis) == 2 + 2 * len(generator.blocks)


@pytest.mark.parametrize(("size", "names"), [(1, set()), (2, {"w"})])
def test_few_places_span_too_little_for_a_basis(size: int, names: set[str]) -> None:
    weight = torch.randn(2, 16, 1, 1).requires_grad_()
    with ConvolutionMoments({"w": weight}) as moments:
        F.conv2d(torch.randn(1, 16, size, size), weight).sum().backward()
    assert moments.eigenbases().keys() == names


def test_nothing_is_recorded_without_gradients() -> None:
    weight = torch.randn(2, 2, 1, 1).requires_grad_()
    with ConvolutionMoments({"w": weight}) as moments, torch.no_grad():
        F.conv2d(torch.randn(1, 2, 4, 4), weight)
    assert moments.eigenbases() == {}


def test_in_the_standard_basis_it_is_adam() -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(4, 3, 3, 3), torch.randn(4)
    target = torch.randn(4, 3, 3, 3)

    def minimised(rotated: bool) -> list[Tensor]:
        parameters = [weight.clone().requires_grad_(), bias.clone().requires_grad_()]
        basis = Eigenbasis(torch.eye(4), torch.eye(3))
        bases = [(parameters[0], basis)] if rotated else []
        optimizer = EigenbasisAdam([{"params": parameters}], bases, lr=0.05)
        for _ in range(10):
            loss = (parameters[0] - target).square().sum() + parameters[1].square().sum()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            assert all(p.grad is None for p in parameters)
        return [p.detach() for p in parameters]

    torch.testing.assert_close(minimised(True), minimised(False))


def test_rotating_in_low_precision_changes_a_step_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pti_hub.optim.eigenbasis.mixed_precision",
        lambda device, wanted: torch.autocast(device.type, torch.bfloat16, enabled=wanted),
    )
    torch.manual_seed(0)
    gradient, basis = torch.randn(32, 16, 3, 3), Eigenbasis(rotation(32, 0), rotation(16, 1))

    def step(rounds: bool) -> Tensor:
        weight = torch.zeros(32, 16, 3, 3).requires_grad_()
        optimizer = EigenbasisAdam([{"params": [weight]}], [(weight, basis)], rounds, lr=0.05)
        for _ in range(2):
            weight.grad = gradient.clone()
            optimizer.step()
        return weight.detach()

    # Adam takes whole steps even where a gradient is next to nothing, and rounding decides their sign.
    assert 0 < (step(True) - step(False)).norm() < 0.1 * step(False).norm()


def test_correlated_inputs_no_longer_slow_it_down() -> None:
    torch.manual_seed(0)
    mixing = rotation(16, 0) @ torch.diag(torch.logspace(0, -2, 16)) @ rotation(16, 1)
    x = torch.einsum("dc,bchw->bdhw", mixing, torch.randn(1, 16, 32, 32))
    start = torch.randn(16, 16, 1, 1)
    target = F.conv2d(x, start + 0.3 * torch.randn(16, 16, 1, 1))

    def loss_after(uses_basis: bool) -> float:
        weight = start.clone().requires_grad_()
        with ConvolutionMoments({"w": weight}) as moments:
            F.mse_loss(F.conv2d(x, weight), target).backward()
        weight.grad = None
        bases = [(weight, moments.eigenbases()["w"])] if uses_basis else []
        optimizer = EigenbasisAdam([{"params": [weight]}], bases, lr=0.03, betas=(0.8, 0.99))
        for _ in range(90):
            loss = F.mse_loss(F.conv2d(x, weight), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    assert loss_after(True) < 0.01 * loss_after(False)
