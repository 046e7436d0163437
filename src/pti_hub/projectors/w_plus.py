"""Projection into W+: one w per layer (Abdal et al. 2019; the paper's "SG2 W+")."""

from __future__ import annotations

from torch import Tensor

from pti_hub.generators import Generator, broadcast_ws
from pti_hub.projectors.w import WProjector, WProjectorConfig


class WPlusProjector(WProjector):
    """Eq. 1 over `[1, num_ws, w_dim]`; reconstructs better than W and is harder to edit (section 2.3).

    Args:
        config: Hyper-parameters, as for `WProjector`.
    """

    @classmethod
    def paper(cls) -> WPlusProjector:
        """Section 4.5: 2100 steps."""
        return cls(WProjectorConfig(num_steps=2100, learning_rate=5e-3))

    def _start(self, generator: Generator) -> Tensor:
        return broadcast_ws(generator, super()._start(generator)).clone()
