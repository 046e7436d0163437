"""How far a tuned picture is from its photograph, and where that matters."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pti_hub.perceptual import LPIPS
from pti_hub.tuners.reconstruction import ReconstructionLoss


@pytest.fixture
def importance() -> Tensor:
    """A face in the middle of a picture of 128 pixels."""
    places = torch.full((1, 1, 128, 128), 0.25)
    places[..., 40:90, 35:93] = 1
    return places


def test_without_importance_it_is_lpips_and_mse(perceptual: LPIPS, photograph: Tensor) -> None:
    picture = torch.rand_like(photograph[None]) * 2 - 1
    losses = ReconstructionLoss(perceptual, photograph[None])(picture)
    torch.testing.assert_close(losses.lpips, perceptual(picture, photograph[None])[0], rtol=0.05, atol=0)
    torch.testing.assert_close(losses.l2, F.mse_loss(picture, photograph[None]))
    assert losses.around == 0


def test_the_face_counts_more(perceptual: LPIPS, importance: Tensor) -> None:
    torch.manual_seed(0)
    target, noise = torch.zeros(1, 3, 128, 128), torch.randn(1, 3, 20, 20)
    loss = ReconstructionLoss(perceptual, target, importance)
    on_face, beside = target.clone(), target.clone()
    on_face[..., 50:70, 50:70] += noise
    beside[..., 100:120, 100:120] += noise
    face, background = loss(on_face), loss(beside)
    assert face.l2 == pytest.approx(4 * background.l2.item(), rel=1e-4)
    assert background.lpips < 1e-6 < face.lpips
    assert background.around > 1e-6


def test_importance_is_relative(perceptual: LPIPS, importance: Tensor) -> None:
    torch.manual_seed(0)
    target, picture = torch.zeros(1, 3, 128, 128), torch.randn(1, 3, 128, 128)
    once = ReconstructionLoss(perceptual, target, importance)(picture)
    twice = ReconstructionLoss(perceptual, target, 2 * importance)(picture)
    torch.testing.assert_close(once, twice)


def test_uniform_importance_compares_everything(perceptual: LPIPS) -> None:
    torch.manual_seed(0)
    target, picture = torch.zeros(1, 3, 128, 128), torch.randn(1, 3, 128, 128)
    plain = ReconstructionLoss(perceptual, target)(picture)
    uniform = ReconstructionLoss(perceptual, target, torch.ones(1, 1, 128, 128))(picture)
    torch.testing.assert_close(plain.lpips, uniform.lpips, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(plain.l2, uniform.l2)
