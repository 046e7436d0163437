"""Learning rates over the course of a loop."""

from __future__ import annotations

import math


def learning_rate_factor(t: float, rampup: float, rampdown: float) -> float:
    """Factor on the learning rate at time t in [0, 1): linear up, cosine down (Karras et al. 2020, D).

    Args:
        t: Share of the steps that are done.
        rampup: Share over which the rate rises from 0.
        rampdown: Share over which it falls to 0.
    """
    down = min(1.0, (1 - t) / rampdown) if rampdown else 1.0
    up = min(1.0, t / rampup) if rampup else 1.0
    return (0.5 - 0.5 * math.cos(down * math.pi)) * up
