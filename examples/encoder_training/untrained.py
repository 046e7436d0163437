"""The encoder before its training."""

from __future__ import annotations

import math
from typing import Any

import torch

from encoder_training.settings import Settings
from pti_hub import PTIPipeline
from pti_hub.encoders import LightEncoder
from pti_hub.optim import process_state

AXES = 96  # of the gradient preconditioner, which assumes pictures to be least sensitive to all other directions


def new_encoder(pipe: PTIPipeline, settings: Settings) -> LightEncoder:
    """Create an encoder; its body gets the AlexNet weights of the pipeline's LPIPS, if there are any."""
    torch.manual_seed(settings.seed)
    generator: Any = pipe.generator
    axes = min(AXES, generator.w_dim) if settings.preconditioner_samples else 0
    space: Any = settings.space
    encoder = LightEncoder(generator.w_dim, generator.num_ws, space, settings.resolution, axes)
    for network in (pipe.perceptual, pipe.projector_perceptual):
        if network.net == "alex":
            encoder.body.load_state_dict(network.features.state_dict())
            break
    else:
        if process_state().is_main_process:
            print("no LPIPS with AlexNet in the pipeline: the body starts from random weights and needs more samples")
    z = torch.randn(4096, generator.z_dim, generator=torch.Generator().manual_seed(settings.seed))
    with torch.no_grad():
        w = generator.mapping(z.to(pipe.device))
    encoder.w_avg.copy_(generator.w_avg)
    encoder.w_scale.copy_(w.std(0))
    torch.nn.init.normal_(encoder.to_w.weight, std=0.1 / math.sqrt(encoder.to_w.in_features))
    return encoder.to(pipe.device)
