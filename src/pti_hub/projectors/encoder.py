"""The pivot in one pass of a network that was taught to invert pictures (e4e, Tov et al. 2021)."""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pti_hub.errors import InputError
from pti_hub.generators import Generator, broadcast_ws
from pti_hub.loops import LoopState, StepCallback, check_target
from pti_hub.perceptual import LPIPS
from pti_hub.projectors.fixed import FixedPivotConfig
from pti_hub.projectors.protocol import Projection


class Encoder(Protocol):
    """A `torch.nn.Module` from pictures to latents, in float32.

    Attributes:
        resolution: Height and width of the pictures it takes, in pixels.
    """

    resolution: int

    def __call__(self, images: Tensor) -> Tensor:
        """w `[B, w_dim]` or ws `[B, num_ws, w_dim]` of pictures `[B, 3, resolution, resolution]` in [-1, 1]."""

    def to(self, *args: Any, **kwargs: Any) -> Any: ...


class EncoderProjector:
    """Asks an encoder for the pivot.

    Args:
        encoder: The network.
        config: Hyper-parameters.
    """

    config_class = FixedPivotConfig

    def __init__(self, encoder: Encoder, config: FixedPivotConfig | None = None) -> None:
        self.encoder = encoder
        self.config = config or FixedPivotConfig()

    @torch.no_grad()
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
        size = self.encoder.resolution
        self.encoder.to(target.device).eval()
        # A mean over areas shrinks without aliasing and enlarges by repetition.
        pivot = self.encoder(F.interpolate(target, size=(size, size), mode="area")).float()
        try:
            broadcast_ws(generator, pivot)
        except InputError as error:
            raise InputError(f"the encoder {type(self.encoder).__name__} is of another generator: {error}") from error
        return Projection(pivot, [])
