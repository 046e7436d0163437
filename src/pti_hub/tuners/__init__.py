"""Pivot → tuned weights."""

from pti_hub.tuners.config import PivotalTunerConfig
from pti_hub.tuners.pivotal import PivotalTuner, Tuning

__all__ = ["PivotalTuner", "PivotalTunerConfig", "Tuning"]
