"""The interface that projectors rely on; every encoder implements it."""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Encoder(Protocol):
    """A `torch.nn.Module` that maps pictures to latents in float32.

    An encoder may have an attribute `preconditioner`: a `pti_hub.optim.GradientPreconditioner` for the generator, which
    projectors use to refine the encoder's latents, or `None`.

    Attributes:
        resolution: Height and width of the input pictures, in pixels.
    """

    resolution: int

    def __call__(self, images: Tensor) -> Tensor:
        """Map pictures `[B, 3, resolution, resolution]` in [-1, 1] to w `[B, w_dim]` or ws `[B, num_ws, w_dim]`.

        Args:
            images: The pictures.
        """

    def to(self, *args: Any, **kwargs: Any) -> Any: ...


@torch.no_grad()
def encode(encoder: Encoder, target: Tensor) -> Tensor:
    """The latent of a picture of any size.

    Args:
        encoder: The network, which is moved to the picture's device.
        target: `[1, 3, R, R]` in [-1, 1].

    Returns:
        float32 w `[1, w_dim]` or ws `[1, num_ws, w_dim]`.
    """
    size = encoder.resolution
    # A mean over areas shrinks without aliasing and enlarges by repetition.
    latent: Tensor = encoder.to(target.device).eval()(F.interpolate(target, size=(size, size), mode="area"))
    return latent.float()
