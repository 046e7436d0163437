"""Projection into W+."""

from __future__ import annotations

import torch

from pti_hub import WProjector, WProjectorConfig
from pti_hub.generators import MobileStyleGAN
from pti_hub.perceptual import LPIPS
from pti_hub.projectors import WPlusProjector


def test_w_plus_comes_nearer_than_w(generator: MobileStyleGAN, perceptual: LPIPS, photograph: torch.Tensor) -> None:
    # No picture of W, so that W+ has something to gain.
    target = photograph[None].roll(20, 3)
    config = WProjectorConfig(num_steps=60, learning_rate=0.05, resolution=64, noise_factor=0.0)
    distances = []
    for projector in (WProjector(config), WPlusProjector(config)):
        pivot = projector.project(generator, perceptual, target).pivot
        distances.append(perceptual(generator.synthesis(pivot), target).item())
    assert pivot.shape == (1, 8, 16)
    assert distances[1] < 0.9 * distances[0]
