"""Pivots that do not look at the picture: the ablation's mean and random latent (Fig. 16 C and E)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pti_hub.generators import Generator
from pti_hub.optim import LoopCheckpoint, StepCallback, check_target
from pti_hub.perceptual import LPIPS
from pti_hub.projectors.protocol import Projection


@dataclass(frozen=True)
class FixedPivotConfig:
    """Nothing is optimised.

    Attributes:
        num_steps: Always 0.
    """

    num_steps: int = 0


class MeanProjector:
    """The mean of W, whatever the picture (Fig. 16 C).

    Args:
        config: Hyper-parameters.
    """

    config_class = FixedPivotConfig

    def __init__(self, config: FixedPivotConfig | None = None) -> None:
        self.config = config or FixedPivotConfig()

    def project(
        self,
        generator: Generator,
        perceptual: LPIPS,
        target: Tensor,
        seed: int = 0,
        on_step: StepCallback | None = None,
        checkpoint: LoopCheckpoint | None = None,
    ) -> Projection:
        """The pivot `[1, w_dim]`; see `Projector.project`."""
        check_target(generator, target)
        return Projection(self._pivot(generator, seed), [])

    def _pivot(self, generator: Generator, seed: int) -> Tensor:
        return generator.w_avg[None].float().clone()


class RandomProjector(MeanProjector):
    """A sample of W, whatever the picture (Fig. 16 E); arguments as of `MeanProjector`."""

    def _pivot(self, generator: Generator, seed: int) -> Tensor:
        z = torch.randn(1, generator.z_dim, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            return generator.mapping(z.to(generator.w_avg)).float()
