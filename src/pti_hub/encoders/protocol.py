"""What a projector may ask of an encoder."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class Encoder(Protocol):
    """A `torch.nn.Module` from pictures to latents, in float32.

    It may have an attribute `preconditioner`, the `pti_hub.optim.GradientPreconditioner` of its generator or `None`, by
    which its latents are refined.

    Attributes:
        resolution: Height and width of the pictures it takes, in pixels.
    """

    resolution: int

    def __call__(self, images: Tensor) -> Tensor:
        """w `[B, w_dim]` or ws `[B, num_ws, w_dim]` of pictures `[B, 3, resolution, resolution]` in [-1, 1]."""

    def to(self, *args: Any, **kwargs: Any) -> Any: ...
