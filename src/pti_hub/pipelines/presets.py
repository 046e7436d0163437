"""Schedules of projection and tuning by name."""

from __future__ import annotations

from pti_hub.projectors import WProjectorConfig
from pti_hub.tuners import PivotalTunerConfig

PRESETS: dict[str, tuple[WProjectorConfig | None, PivotalTunerConfig]] = {
    "default": (None, PivotalTunerConfig()),
    "paper": (WProjectorConfig.paper(), PivotalTunerConfig.paper()),
}
"""By name: the projection from the mean of W, or `None` for whatever `projector="auto"` stands for, and the tuning.
`"default"` is quick, `"paper"` is section 4.5's schedule."""
