"""What a projector is, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from pti_hub.generators import Generator
from pti_hub.optim import LoopCheckpoint, StepCallback
from pti_hub.perceptual import LPIPS


@dataclass(frozen=True)
class Projection:
    """What a projector found.

    Attributes:
        pivot: w_p `[1, w_dim]`, or `[1, num_ws, w_dim]` in W+.
        noise: Noise maps that were fitted with it, `[1, 1, H, W]` each; pivotal tuning does not use them.
    """

    pivot: Tensor
    noise: list[Tensor]


class Projector(Protocol):
    """Image → pivot; a small object over a dataclass of hyper-parameters.

    Attributes:
        config: The hyper-parameters; `num_steps` is 0 where nothing is optimised.
    """

    config: Any

    def project(
        self,
        generator: Generator,
        perceptual: LPIPS,
        target: Tensor,
        seed: int = 0,
        on_step: StepCallback | None = None,
        checkpoint: LoopCheckpoint | None = None,
    ) -> Projection:
        """Find the pivot of a picture.

        Args:
            generator: G, frozen whatever its parameters say.
            perceptual: Distance of Eq. 1.
            target: x `[1, 3, R, R]` in [-1, 1], R the generator's resolution.
            seed: Seed of everything random.
            on_step: Called after each step with its number and its metrics, as tensors.
            checkpoint: Where the loop's state is kept, and resumed from if there is one; the result is the same, bit
                for bit.

        Returns:
            The pivot.

        Raises:
            InputError: The target's shape is not the generator's.
            WeightsError: The checkpoint is damaged or of another run.
        """
