"""The interface that projectors rely on; every encoder implements it."""

from __future__ import annotations

from typing import Any, Protocol

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
        """Map pictures `[B, 3, resolution, resolution]` in [-1, 1] to w `[B, w_dim]` or ws `[B, num_ws, w_dim]`."""

    def to(self, *args: Any, **kwargs: Any) -> Any: ...
