"""Asking an encoder for the pivot, and refining its answer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from support.networks import tiny_encoder

from pti_hub import InputError
from pti_hub.generators import Generator, MobileStyleGAN
from pti_hub.optim import LoopCheckpoint
from pti_hub.perceptual import LPIPS
from pti_hub.projectors import EncoderProjector, EncoderProjectorConfig


def distance(generator: Generator, perceptual: LPIPS, pivot: torch.Tensor, target: torch.Tensor) -> float:
    with torch.no_grad():
        return perceptual(generator.synthesis(pivot), target).item()


def test_the_pivot_is_what_the_encoder_says(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: torch.Tensor
) -> None:
    encoder = tiny_encoder(resolution=128)
    found = EncoderProjector(encoder).project(generator, perceptual, photograph[None])
    with torch.no_grad():
        expected = encoder(photograph[None].repeat_interleave(2, 2).repeat_interleave(2, 3))
    torch.testing.assert_close(found.pivot, expected)
    assert found.noise == []


@pytest.mark.parametrize("space", ["w", "w+"])
@pytest.mark.parametrize("num_axes", [0, 8])
def test_refining_brings_the_picture_nearer(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: torch.Tensor, space: str, num_axes: int
) -> None:
    encoder, target = tiny_encoder(space, num_axes=num_axes), photograph[None]
    encoder.w_avg += 2
    steps: list[int] = []
    alone = EncoderProjector(encoder).project(generator, perceptual, target)
    config = EncoderProjectorConfig(refine_steps=12, resolution=64, learning_rate=0.1)
    refined = EncoderProjector(encoder, config).project(
        generator, perceptual, target, on_step=lambda step, metrics: steps.append(step)
    )
    assert refined.pivot.shape == alone.pivot.shape
    assert steps == list(range(12)) and config.num_steps == 12
    before, after = (distance(generator, perceptual, found.pivot, target) for found in (alone, refined))
    assert after < 0.98 * before


@pytest.mark.parametrize("space", ["w", "w+"])
def test_with_a_metric_steps_are_natural(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: torch.Tensor, space: str
) -> None:
    encoder, target = tiny_encoder(space, num_axes=8), photograph[None]
    alone = EncoderProjector(encoder).project(generator, perceptual, target).pivot
    config = EncoderProjectorConfig(refine_steps=1, resolution=64, step_length=0.3)
    refined = EncoderProjector(encoder, config).project(generator, perceptual, target)
    moved = (refined.pivot - alone).square().sum(-1).mean().sqrt()
    torch.testing.assert_close(moved, 0.3 * generator.w_std)
    assert all(torch.equal(one, two) for one, two in zip(refined.noise, generator.noise_maps(), strict=True))
    damped = dataclasses.replace(config, damping=1e6)
    other = EncoderProjector(encoder, damped).project(generator, perceptual, target).pivot
    assert torch.cosine_similarity(refined.pivot - alone, other - alone, dim=-1).max() < 0.95


@pytest.mark.parametrize("num_axes", [0, 8])
def test_refining_goes_on_after_a_kill(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: torch.Tensor, tmp_path: Path, num_axes: int
) -> None:
    projector = EncoderProjector(tiny_encoder(num_axes=num_axes), EncoderProjectorConfig(refine_steps=8, resolution=64))
    whole = projector.project(generator, perceptual, photograph[None], seed=3)

    def killed(step: int, metrics: Any) -> None:
        if step == 5:
            raise KeyboardInterrupt

    state = LoopCheckpoint(tmp_path / "state.safetensors", every=2)
    with pytest.raises(KeyboardInterrupt):
        projector.project(generator, perceptual, photograph[None], seed=3, on_step=killed, checkpoint=state)
    again = projector.project(generator, perceptual, photograph[None], seed=3, checkpoint=state)
    assert torch.equal(again.pivot, whole.pivot)


def test_diverging_is_noticed_at_the_last_step(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: torch.Tensor
) -> None:
    encoder = tiny_encoder()
    found = EncoderProjector(encoder).project(generator, perceptual, photograph[None]).pivot
    config = EncoderProjectorConfig(refine_steps=20, resolution=64, learning_rate=1e4)
    with pytest.warns(RuntimeWarning, match="projection diverged at step 19 of 20"):
        refined = EncoderProjector(encoder, config).project(generator, perceptual, photograph[None])
    assert torch.equal(refined.pivot, found)


@pytest.mark.parametrize(
    "wrong",
    [
        {"refine_steps": -1},
        {"refine_steps": 2.5},
        {"learning_rate": 0},
        {"beta2": 1.0},
        {"damping": 0.0},
        {"step_length": -1.0},
    ],
)
def test_hyper_parameters_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"EncoderProjectorConfig: {next(iter(wrong))}="):
        EncoderProjectorConfig(**wrong)
