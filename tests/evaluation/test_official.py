"""The slow reference against the package's own loops."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from pti_hub import PivotalTuner, PTIPipeline, WProjector
from pti_hub.evaluation.official import PROJECTION, TUNING, OfficialProjector, OfficialTuner


@pytest.fixture
def target(photograph: torch.Tensor) -> torch.Tensor:
    return photograph[None]


def test_the_schedule_is_the_official_codes() -> None:
    assert (PROJECTION.num_steps, PROJECTION.learning_rate, PROJECTION.resolution) == (450, 0.01, 256)
    assert (TUNING.num_steps, TUNING.learning_rate, TUNING.lpips_threshold) == (350, 3e-4, 0.06)
    assert (TUNING.lpips_weight, TUNING.l2_weight, TUNING.locality_weight) == (1, 1, 0)


def test_tuning_takes_the_same_steps_as_ours(pipe: PTIPipeline, target: torch.Tensor) -> None:
    config = dataclasses.replace(TUNING, num_steps=5, check_interval=5, lpips_threshold=0.0)
    pivot = pipe.generator.w_avg[None]
    before = {name: p.clone() for name, p in pipe.generator.named_parameters()}
    slow, fast = (
        tuner(config).tune(pipe.generator, pipe.perceptual, [pivot], [target])
        for tuner in (OfficialTuner, PivotalTuner)
    )
    assert slow.num_steps == fast.num_steps == 5
    assert slow.deltas.keys() == fast.deltas.keys()
    a, b = (torch.cat([t.deltas[name].flatten() for name in slow.deltas]) for t in (slow, fast))
    # Ours computes LPIPS in bfloat16 where it can, and Adam's first steps follow the sign of a gradient.
    assert torch.cosine_similarity(a, b, dim=0) > 0.97
    assert slow.metrics[0]["lpips"] == pytest.approx(fast.metrics[0]["lpips"], rel=1e-2)
    assert all(torch.equal(p, before[name]) for name, p in pipe.generator.named_parameters())


def test_tuning_stops_at_the_threshold(pipe: PTIPipeline, target: torch.Tensor) -> None:
    pivot = pipe.generator.w_avg[None]
    start = pipe.perceptual(pipe.generator.synthesis(pivot), target).item()
    config = dataclasses.replace(TUNING, learning_rate=3e-3, lpips_threshold=0.8 * start)
    tuning = OfficialTuner(config).tune(pipe.generator, pipe.perceptual, [pivot], [target])
    assert 0 < tuning.num_steps < 350
    assert tuning.metrics[0]["lpips"] <= 0.8 * start
    at_once = OfficialTuner(dataclasses.replace(config, lpips_threshold=2 * start))
    assert at_once.tune(pipe.generator, pipe.perceptual, [pivot], [target]).num_steps == 0


def test_projection_ends_where_ours_does(pipe: PTIPipeline, target: torch.Tensor) -> None:
    config = dataclasses.replace(PROJECTION, num_steps=60, resolution=32)
    # The generator stays as it is, whatever its parameters say.
    pipe.generator.requires_grad_(True)
    slow, fast = (
        projector(config).project(pipe.generator, pipe.perceptual, target)
        for projector in (OfficialProjector, WProjector)
    )
    assert slow.pivot.shape == fast.pivot.shape
    start, *ends = (
        pipe.perceptual(pipe.generator.synthesis(w), target).item()
        for w in (pipe.generator.w_avg[None], slow.pivot, fast.pivot)
    )
    assert max(ends) < 0.1 * start
    assert all(p.grad is None for p in pipe.generator.parameters())
