"""Small networks."""

from __future__ import annotations

import torch

from pti_hub.encoders import LightEncoder
from pti_hub.optim import GradientPreconditioner


def tiny_encoder(space: str = "w", resolution: int = 64, num_axes: int = 0) -> LightEncoder:
    """An encoder of `generator`'s latents, with a metric if it has axes."""
    torch.manual_seed(5)
    encoder = LightEncoder(16, 8, space, resolution, num_axes).eval()  # type: ignore[arg-type]
    if num_axes:
        encoder.preconditioner = GradientPreconditioner.of(torch.randn(50, 16) * torch.linspace(3, 0.1, 16), num_axes)
    return encoder
