"""The pivot in one pass of a network that was taught to invert pictures (e4e, Tov et al. 2021), and a few steps on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pti_hub.errors import InputError
from pti_hub.generators import Generator, broadcast_ws
from pti_hub.loops import LoopState, StepCallback, check_hyper_parameters, check_target
from pti_hub.natural import Metric, NaturalDescent
from pti_hub.perceptual import LPIPS
from pti_hub.projectors.protocol import Projection
from pti_hub.projectors.w import WProjector, WProjectorConfig


class Encoder(Protocol):
    """A `torch.nn.Module` from pictures to latents, in float32.

    It may have a `metric`, the `pti_hub.natural.Metric` of its generator, or None, to be refined by.

    Attributes:
        resolution: Height and width of the pictures it takes, in pixels.
    """

    resolution: int

    def __call__(self, images: Tensor) -> Tensor:
        """w `[B, w_dim]` or ws `[B, num_ws, w_dim]` of pictures `[B, 3, resolution, resolution]` in [-1, 1]."""

    def to(self, *args: Any, **kwargs: Any) -> Any: ...


@dataclass(frozen=True)
class EncoderProjectorConfig:
    """Hyper-parameters: whether the encoder's latent is refined, and how.

    By natural gradients, if the encoder has a metric; else by Adam, with a shorter memory than usual, as there are only
    a few dozen steps. Nor are there enough of them to look for a wide basin by adding noise to w.

    Attributes:
        refine_steps: Steps of Eq. 1 from there, in W or W+ as the encoder has it; with 0 it is taken as it is.
        step_length: η of the first natural step, in units of `w_std`; the others' falls to 0 along a cosine.
        damping: δ of the natural gradient, see `Metric.natural`; with more of it w ends nearer to where it began.
        learning_rate: Adam's peak rate, without a metric.
        beta1: Adam's β₁, likewise.
        beta2: Adam's β₂, likewise.
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
        """Steps in all."""
        return self.refine_steps


REFINED = EncoderProjectorConfig(refine_steps=25)
"""What a pipeline's `projector="auto"` asks of its encoder."""


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
        state: LoopState | None = None,
    ) -> Projection:
        """The pivot `[1, w_dim]` or `[1, num_ws, w_dim]`; see `Projector.project`.

        Raises:
            InputError: What the encoder gives is no latent of the generator.
        """
        check_target(generator, target)
        pivot = self._encoded(target)
        try:
            broadcast_ws(generator, pivot)
        except InputError as error:
            raise InputError(f"the encoder {type(self.encoder).__name__} is of another generator: {error}") from error
        if not self.config.refine_steps:
            return Projection(pivot, [])
        metric: Metric | None = getattr(self.encoder, "metric", None)
        if metric is None:
            refiner = _Refiner(self.config, pivot)
        else:
            refiner = _NaturalRefiner(self.config, pivot, metric, generator.w_std)
        return refiner.project(generator, perceptual, target, seed, on_step, state)

    @torch.no_grad()
    def _encoded(self, target: Tensor) -> Tensor:
        size = self.encoder.resolution
        self.encoder.to(target.device).eval()
        # A mean over areas shrinks without aliasing and enlarges by repetition.
        return self.encoder(F.interpolate(target, size=(size, size), mode="area")).float()


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
    """The same by natural gradients."""

    def __init__(self, config: EncoderProjectorConfig, start: Tensor, metric: Metric, w_std: Tensor) -> None:
        super().__init__(config, start, learning_rate=config.step_length * float(w_std), rampup=0.0, rampdown=1.0)
        self._damping, self._metric, self._pace = config.damping, metric, f"step_length={config.step_length:g}"

    def _noise(self, generator: Generator, random: torch.Generator) -> list[Tensor]:
        # They have no metric, and learn nothing in so few steps: the generator's own, as in the picture that is tuned.
        return [n.detach() for n in generator.noise_maps()]

    def _optimizer(self, w: Tensor, noise: list[Tensor]) -> torch.optim.Optimizer:
        return NaturalDescent(w, self._metric, self.config.learning_rate, self._damping)
