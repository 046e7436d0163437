"""The pivot from an encoder (e4e, Tov et al. 2021), refined by a few steps of Eq. 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pti_hub.encoders import Encoder, encode
from pti_hub.errors import InputError
from pti_hub.generators import Generator, broadcast_ws
from pti_hub.optim import (
    GradientPreconditioner,
    LoopCheckpoint,
    NaturalGradientDescent,
    StepCallback,
    check_hyper_parameters,
    check_target,
)
from pti_hub.perceptual import LPIPS
from pti_hub.projectors.protocol import Projection
from pti_hub.projectors.w import WProjector, WProjectorConfig


@dataclass(frozen=True)
class EncoderProjectorConfig:
    """Hyper-parameters: whether the encoder's latent is refined, and how.

    It is refined by natural gradients if the encoder has a preconditioner, and else by Adam, whose memory is shorter
    than usual because there are only a few dozen steps. For the same reason no noise is added to w.

    Attributes:
        refine_steps: Steps of Eq. 1 from the encoder's latent, in W or W+ like the latent; 0 takes it as it is.
        step_length: Length η of the first natural step, in units of `w_std`; later steps shrink to 0 along a cosine.
        damping: δ of the natural gradient, see `GradientPreconditioner.natural`; with more damping w stays nearer to
            where it began.
        learning_rate: Adam's peak learning rate, without a preconditioner.
        beta1: Adam's β₁, without a preconditioner.
        beta2: Adam's β₂, without a preconditioner.
        resolution: Height and width at which the pictures are compared, in pixels.
        early: As in `WProjectorConfig`.
    """

    refine_steps: int = 0
    step_length: float = 0.25
    damping: float = 0.01
    learning_rate: float = 0.07
    beta1: float = 0.8
    beta2: float = 0.99
    resolution: int = 256
    early: bool = False

    def __post_init__(self) -> None:
        above_zero = ("step_length", "damping", "learning_rate", "resolution")
        check_hyper_parameters(self, above_zero, ("beta1", "beta2"))

    @property
    def num_steps(self) -> int:
        """Number of steps, as every projector's configuration has it."""
        return self.refine_steps


REFINED = EncoderProjectorConfig(refine_steps=12, resolution=128)
"""What a pipeline's `projector="auto"` asks of its encoder; at 256² the tuned pictures are no better."""


class EncoderProjector:
    """Asks an encoder for the pivot, and refines it by a few steps of Eq. 1.

    Args:
        encoder: The network.
        config: Hyper-parameters.
    """

    config_class = EncoderProjectorConfig

    def __init__(self, encoder: Encoder, config: EncoderProjectorConfig | None = None) -> None:
        self.encoder = encoder
        self.config = config or EncoderProjectorConfig()

    def project(
        self,
        generator: Generator,
        perceptual: LPIPS,
        target: Tensor,
        seed: int = 0,
        on_step: StepCallback | None = None,
        checkpoint: LoopCheckpoint | None = None,
    ) -> Projection:
        """The pivot `[1, w_dim]` or `[1, num_ws, w_dim]`; see `Projector.project`.

        Raises:
            InputError: What the encoder gives is no latent of the generator.
        """
        check_target(generator, target)
        pivot = encode(self.encoder, target)
        try:
            broadcast_ws(generator, pivot)
        except InputError as error:
            raise InputError(f"the encoder {type(self.encoder).__name__} is of another generator: {error}") from error
        if not self.config.refine_steps:
            return Projection(pivot, [])
        preconditioner: GradientPreconditioner | None = getattr(self.encoder, "preconditioner", None)
        if preconditioner is None:
            refiner = _Refiner(self.config, pivot)
        else:
            refiner = _NaturalRefiner(self.config, pivot, preconditioner, generator.w_std)
        return refiner.project(generator, perceptual, target, seed, on_step, checkpoint)


class _Refiner(WProjector):
    """Eq. 1 from a latent other than the mean, by Adam."""

    def __init__(self, config: EncoderProjectorConfig, start: Tensor, **changes: float) -> None:
        names = ("learning_rate", "beta1", "beta2", "resolution", "early")
        settings: dict[str, Any] = {name: getattr(config, name) for name in names} | changes
        super().__init__(WProjectorConfig(num_steps=config.refine_steps, noise_factor=0.0, **settings))
        self._first = start

    def _start(self, generator: Generator) -> Tensor:
        return self._first.clone()


class _NaturalRefiner(_Refiner):
    """Eq. 1 from a latent other than the mean, by natural gradients."""

    def __init__(
        self,
        config: EncoderProjectorConfig,
        start: Tensor,
        preconditioner: GradientPreconditioner,
        w_std: Tensor,
    ) -> None:
        super().__init__(config, start, learning_rate=config.step_length * float(w_std), rampup=0.0, rampdown=1.0)
        self._preconditioner, self._damping = preconditioner, config.damping
        self._rate_setting = f"step_length={config.step_length:g}"

    def _noise(self, generator: Generator, random: torch.Generator) -> list[Tensor]:
        # There is no preconditioner for noise maps, and they learn nothing in so few steps: they stay the generator's
        # own, as in the picture that is tuned.
        return [n.detach() for n in generator.noise_maps()]

    def _optimizer(self, w: Tensor, noise: list[Tensor]) -> torch.optim.Optimizer:
        return NaturalGradientDescent(w, self._preconditioner, self.config.learning_rate, self._damping)
