"""Methods and results of the evaluation."""

from __future__ import annotations

from pathlib import Path

from pti_hub import PivotalTuner, PivotalTunerConfig, WProjector, WProjectorConfig
from pti_hub.evaluation import Method, Results


def methods() -> list[Method]:
    """A projection of two steps, and the same with a few steps of tuning."""
    projector = WProjector(WProjectorConfig(num_steps=2, resolution=64))
    tuner = PivotalTuner(PivotalTunerConfig(num_steps=10, check_interval=5, lpips_threshold=0.0, learning_rate=3e-3))
    return [Method("mine", projector), Method("mine_tuned", projector, tuner)]


def filled(folder: Path, better: float = 0.0) -> Results:
    """Results of two methods on three photographs, of which one has no identity, and a fourth that was skipped."""
    results = Results(folder, {"seed": 0})
    groups = ["reconstruction", "identity"]
    for image, sg2, pti in (("a", 0.5, 0.1), ("b", 0.3, 0.1), ("c", 0.4, 0.4)):
        results.add(image, "sg2", groups, {"lpips_alex": sg2, "identity": 0.5})
        identity = float("nan") if image == "c" else 0.9
        results.add(image, "pti", groups, {"lpips_alex": pti - better, "identity": identity})
    results.skip("d", "no face found")
    return results
