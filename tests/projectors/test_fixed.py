"""Pivots that are not searched for."""

from __future__ import annotations

import torch

from pti_hub.generators import MobileStyleGAN
from pti_hub.perceptual import LPIPS
from pti_hub.projectors import MeanProjector, RandomProjector


def test_pivots_of_the_ablation(generator: MobileStyleGAN, perceptual: LPIPS, photograph: torch.Tensor) -> None:
    mean = MeanProjector().project(generator, perceptual, photograph[None]).pivot
    assert torch.equal(mean[0], generator.w_avg)
    one, same, other = (
        RandomProjector().project(generator, perceptual, photograph[None], seed).pivot for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == (1, 16)
