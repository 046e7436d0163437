"""Pivot → tuned weights."""

from pti_hub.tuners.pivotal import PivotalTuner, PivotalTunerConfig, Tuning, add_deltas

__all__ = ["PivotalTuner", "PivotalTunerConfig", "Tuning", "add_deltas"]
