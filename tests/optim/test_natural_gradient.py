"""Natural gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from pti_hub import InputError
from pti_hub.optim import GradientPreconditioner, NaturalGradientDescent


def test_a_metric_s_axes_are_those_of_the_gradients() -> None:
    basis = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0))).Q
    scale = torch.tensor([3.0, 0.5, 2.0, 0.1, 1.0, 0.0])
    gradients = torch.cat([scale.diag(), -scale.diag()]) @ basis
    metric = GradientPreconditioner.of(torch.cat([gradients, torch.full((1, 6), torch.nan)]), 4)
    torch.testing.assert_close(metric.sensitivity, torch.tensor([9.0, 4.0, 1.0, 0.25]) / 9)
    expected = basis[[0, 2, 4, 1]]
    torch.testing.assert_close((metric.axes @ expected.T).abs(), torch.eye(4), atol=1e-5, rtol=0)


@given(st.floats(1e-3, 10), st.integers(0, 100))
def test_natural_is_against_the_damped_metric(damping: float, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    gradients = torch.randn(40, 12, generator=random) * torch.linspace(3, 0.1, 12)
    metric = GradientPreconditioner.of(gradients, 12)
    g = torch.randn(2, 12, generator=random)
    second_moment = gradients.T @ gradients / 40
    damped = second_moment + damping * torch.linalg.eigvalsh(second_moment)[-1] * torch.eye(12)
    expected = torch.linalg.solve(damped, g.T).T
    torch.testing.assert_close(F.normalize(metric.natural(g, damping)), F.normalize(expected), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(1, 12), (1, 5, 12)])
def test_a_step_is_as_long_as_its_rate(shape: tuple[int, ...]) -> None:
    w = torch.zeros(shape, requires_grad=True)
    metric = GradientPreconditioner.of(torch.randn(20, 12, generator=torch.Generator().manual_seed(0)), 6)
    optimizer = NaturalGradientDescent(w, metric, lr=0.7, damping=0.1)
    torch.randn(shape, generator=torch.Generator().manual_seed(1)).mul(w).sum().backward()
    optimizer.step()
    torch.testing.assert_close(w.square().sum(-1).mean().sqrt(), torch.tensor(0.7))
    w.grad = torch.zeros(shape)
    before = w.detach().clone()
    optimizer.step()
    assert torch.equal(w, before)


@pytest.mark.parametrize("gradients", [torch.zeros(5, 4), torch.full((5, 4), torch.inf)])
def test_a_metric_of_nothing(gradients: torch.Tensor) -> None:
    with pytest.raises(InputError, match="5 gradients, all of them zero or not finite"):
        GradientPreconditioner.of(gradients, 2)


def test_natural_steps_cross_a_narrow_valley() -> None:
    curvature = torch.logspace(0, -3, 12)

    def left(optimizer: Any, w: torch.Tensor) -> float:
        for step in range(20):
            optimizer.param_groups[0]["lr"] = 0.5 * (1 - step / 20)
            optimizer.zero_grad()
            (curvature * (w - 1).square()).sum().backward()
            optimizer.step()
        return (w - 1).norm().item()

    ways = []
    for damping in (1e-3, 1e6):
        w = torch.zeros(1, 12, requires_grad=True)
        ways.append(left(NaturalGradientDescent(w, GradientPreconditioner(torch.eye(12), curvature), 0.5, damping), w))
    # As much damping as that leaves the plain gradient.
    assert ways[0] < 0.2 < 1.5 < ways[1]
