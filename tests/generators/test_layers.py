"""The inverse Haar transform."""

from __future__ import annotations

import pytest
import torch

from pti_hub.generators.layers import inverse_haar, inverse_haar_reference


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (2, 32, 5, 3)])
def test_inverse_haar_equals_its_reference(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(inverse_haar(x), inverse_haar_reference(x))


def test_inverse_haar_gradient() -> None:
    x = torch.randn(2, 8, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(inverse_haar, (x,))


def test_inverse_haar_keeps_the_norm() -> None:
    x = torch.randn(1, 16, 8, 8)
    torch.testing.assert_close(inverse_haar(x).norm(), x.norm())
