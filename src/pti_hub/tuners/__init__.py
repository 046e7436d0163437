"""Pivot → tuned weights."""

from pti_hub.tuners.compression import DELTAS
from pti_hub.tuners.personalization import Personalization, fingerprint
from pti_hub.tuners.pivotal import PivotalTuner, PivotalTunerConfig, Tuning, add_deltas

__all__ = ["DELTAS", "Personalization", "PivotalTuner", "PivotalTunerConfig", "Tuning", "add_deltas", "fingerprint"]
