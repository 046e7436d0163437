"""Inversion with the schedule of the paper's official code and with plain arithmetic: a slow reference.

Nothing here is faster than the textbook: every step renders the whole picture in float32 and compares it by autograd,
with memory that is taken from the system and given back. The networks are the package's own, in their channels-last
layout.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pti_hub.generators import Generator
from pti_hub.optim import learning_rate_factor
from pti_hub.perceptual import LPIPS, lpips_reference
from pti_hub.projectors import Projection, WProjectorConfig
from pti_hub.projectors.w import noise_regularization, normalize_noise
from pti_hub.tuners import PivotalTunerConfig, Tuning

_STATISTICS = 600

# The code's own settings: its projection takes Karras et al.'s rate of 0.01, not the 0.005 that the paper names.
PROJECTION = dataclasses.replace(WProjectorConfig.paper(), learning_rate=0.01)
TUNING = dataclasses.replace(PivotalTunerConfig.paper(), lpips_threshold=0.06)


class OfficialProjector:
    """Projection into W (Eq. 1) by 450 steps from the mean of 600 latents, compared at 256² by VGG's LPIPS.

    Args:
        config: Hyper-parameters.
    """

    def __init__(self, config: WProjectorConfig = PROJECTION) -> None:
        self.config = config

    def project(
        self, generator: Generator, perceptual: LPIPS, target: Tensor, seed: int = 0, *unused: Any
    ) -> Projection:
        """The pivot `[1, w_dim]` with its noise maps; arguments as in `Projector.project`."""
        cfg, device = self.config, target.device
        assert isinstance(generator, nn.Module)
        generator = copy.deepcopy(generator).requires_grad_(False)
        random = torch.Generator().manual_seed(seed)
        samples = generator.mapping(torch.randn(_STATISTICS, generator.z_dim, generator=random).to(device))
        mean = samples.mean(0, keepdim=True)
        spread = (samples - mean).square().sum(1).mean().sqrt()
        w = mean.clone().requires_grad_()
        noise = [torch.randn(n.shape, generator=random).to(device).requires_grad_() for n in generator.noise_maps()]
        optimizer = torch.optim.Adam([w, *noise], betas=(cfg.beta1, cfg.beta2), lr=cfg.learning_rate)
        features = lpips_reference(perceptual, _reduced(target, cfg.resolution))
        for step in range(cfg.num_steps):
            t = step / cfg.num_steps
            optimizer.param_groups[0]["lr"] = cfg.learning_rate * learning_rate_factor(t, cfg.rampup, cfg.rampdown)
            width = spread * cfg.noise_factor * max(0.0, 1 - t / cfg.noise_ramp) ** 2
            w_near = w + torch.randn(w.shape, generator=random).to(device) * width
            picture = generator.synthesis(w_near, noise=noise)
            distance = (lpips_reference(perceptual, _reduced(picture, cfg.resolution)) - features).square().sum()
            optimizer.zero_grad(set_to_none=True)
            (distance + cfg.noise_weight * noise_regularization(noise)).backward()
            optimizer.step()
            normalize_noise(noise)
        return Projection(w.detach(), [n.detach() for n in noise])


class OfficialTuner:
    """Tuning (Eq. 2) of all weights by Adam, until LPIPS at full size is at most 0.06 or 350 steps are taken.

    Args:
        config: Hyper-parameters, of which the number of steps, Adam's and those of Eq. 2 are used.
    """

    def __init__(self, config: PivotalTunerConfig = TUNING) -> None:
        self.config = config

    def tune(
        self,
        generator: Generator,
        perceptual: LPIPS,
        pivots: Sequence[Tensor],
        targets: Sequence[Tensor],
        *unused: Any,
        **also_unused: Any,
    ) -> Tuning:
        """θ* for one pivot and its photograph; arguments as in `PivotalTuner.tune`."""
        cfg, (pivot,), (target,) = self.config, pivots, targets
        assert isinstance(generator, nn.Module)
        tuned = copy.deepcopy(generator).requires_grad_(True)
        optimizer = torch.optim.Adam(tuned.parameters(), lr=cfg.learning_rate, betas=(cfg.beta1, cfg.beta2))
        steps = 0
        for steps in range(cfg.num_steps + 1):
            picture = tuned.synthesis(pivot)
            difference = lpips_reference(perceptual, picture) - lpips_reference(perceptual, target)
            lpips, mse = difference.square().sum(), F.mse_loss(picture, target)
            if lpips <= cfg.lpips_threshold or steps == cfg.num_steps:
                break
            optimizer.zero_grad()
            (cfg.lpips_weight * lpips + cfg.l2_weight * mse).backward()
            optimizer.step()
        original = dict(generator.named_parameters())
        deltas = {
            name: (p - original[name]).detach().cpu()
            for name, p in tuned.named_parameters()
            if not name.startswith("mapping_network.")
        }
        return Tuning(deltas, [pivot], [{"lpips": lpips.item(), "mse": mse.item()}], steps)


def _reduced(picture: Tensor, size: int) -> Tensor:
    return F.interpolate(picture, size=(size, size), mode="area") if picture.shape[-1] > size else picture
