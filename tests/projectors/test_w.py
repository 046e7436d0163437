"""Projection into W (Eq. 1)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pti_hub import InputError, WProjector, WProjectorConfig
from pti_hub.generators import MobileStyleGAN, StyleGAN2
from pti_hub.perceptual import LPIPS
from pti_hub.projectors.w import noise_regularization, normalize_noise


def test_the_distance_falls(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor) -> None:
    config = WProjectorConfig(num_steps=60, learning_rate=0.05, resolution=64)
    projection = WProjector(config).project(generator, perceptual, photograph[None])
    assert projection.pivot.shape == (1, 16)
    features = perceptual.target_features(photograph[None])
    start = perceptual(generator.synthesis(generator.w_avg[None]), features).item()
    end = perceptual(generator.synthesis(projection.pivot), features).item()
    assert end < 0.8 * start


def test_the_same_seed_gives_the_same_pivot(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor) -> None:
    projector = WProjector(WProjectorConfig(num_steps=3, resolution=64))
    first, second, other = (
        projector.project(generator, perceptual, photograph[None], seed=seed).pivot for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_generator_is_left_alone(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor) -> None:
    generator.requires_grad_(True)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    WProjector(WProjectorConfig(num_steps=2, resolution=64)).project(generator, perceptual, photograph[None])
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in generator.parameters())


def test_noise_keeps_its_statistics(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor) -> None:
    projection = WProjector(WProjectorConfig(num_steps=3, resolution=64)).project(
        generator, perceptual, photograph[None]
    )
    assert len(projection.noise) == generator.num_ws - 1
    for noise in projection.noise:
        assert abs(noise.mean().item()) < 1e-5
        assert noise.square().mean().item() == pytest.approx(1, abs=1e-4)


def test_noise_regularization_is_the_squared_autocorrelation_at_each_scale() -> None:
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 1, 16, 16, generator=random)
    expected = 0.0
    for n in (noise[0, 0], noise[0, 0].view(8, 2, 8, 2).mean((1, 3))):
        size = len(n)
        across = sum(n[y, x] * n[y, (x - 1) % size] for y in range(size) for x in range(size)) / size**2
        down = sum(n[y, x] * n[(y - 1) % size, x] for y in range(size) for x in range(size)) / size**2
        expected += float(across) ** 2 + float(down) ** 2
    assert noise_regularization([noise]).item() == pytest.approx(expected, rel=1e-4)


def test_noise_regularization_prefers_white_noise() -> None:
    smooth = torch.linspace(-1, 1, 32).view(1, 1, 1, 32).expand(1, 1, 32, 32).clone()
    normalize_noise([smooth])
    white = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert noise_regularization([white]) < 0.1 * noise_regularization([smooth])


def test_the_paper_schedule() -> None:
    config = WProjectorConfig.paper()
    assert (config.num_steps, config.learning_rate, config.noise_weight) == (450, 5e-3, 1e5)
    assert (config.rampup, config.rampdown, config.noise_factor, config.noise_ramp) == (0.05, 0.25, 0.05, 0.75)


@pytest.mark.parametrize(
    "values", [{"num_steps": 0}, {"num_steps": 2.5}, {"learning_rate": -1.0}, {"resolution": 0}, {"noise_ramp": 0.0}]
)
def test_bad_hyper_parameters(values: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"expected a (whole )?number above zero"):
        WProjectorConfig(**values)  # type: ignore[arg-type]


def test_a_target_of_another_size(generator: MobileStyleGAN, perceptual: LPIPS) -> None:
    with pytest.raises(InputError, match=r"target of shape \[1, 3, 32, 32\]; expected \[1, 3, 64, 64\]"):
        WProjector().project(generator, perceptual, torch.zeros(1, 3, 32, 32))


def test_a_diverging_projection_stops_and_keeps_the_best(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor
) -> None:
    projector = WProjector(WProjectorConfig(num_steps=80, learning_rate=1e30, rampup=0.0, resolution=64))
    with pytest.warns(RuntimeWarning, match="projection diverged at step 25 of 80"):
        projection = projector.project(generator, perceptual, photograph[None])
    assert torch.equal(projection.pivot[0], generator.w_avg)


def test_a_projection_that_ends_in_nan_keeps_the_best(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor
) -> None:
    for steps, rate, message in ((20, 1e30, "diverged at step 19 of 20: distance nan"), (1, 1e39, "ended in NaN")):
        projector = WProjector(WProjectorConfig(num_steps=steps, learning_rate=rate, rampup=0.0, resolution=64))
        with pytest.warns(RuntimeWarning, match=message):
            projection = projector.project(generator, perceptual, photograph[None])
        assert torch.equal(projection.pivot[0], generator.w_avg)


@pytest.mark.parametrize("early", [True, False])
def test_the_projector_stops_early_only_when_asked(early: bool, perceptual: LPIPS) -> None:
    made = StyleGAN2(64, channel_max=4, channel_base=256, mapping_layers=1)
    seen = []

    def synthesis(*args: Any, **kwargs: Any) -> Tensor:
        seen.append(kwargs["resolution"])
        return StyleGAN2.synthesis(made, *args, **kwargs)

    made.forward = synthesis  # type: ignore[method-assign]
    config = WProjectorConfig(num_steps=1, resolution=32, early=early)
    WProjector(config).project(made, perceptual, torch.zeros(1, 3, 64, 64))
    assert seen == [32 if early else 64]
    with pytest.raises(InputError, match="early='yes'; expected True or False"):
        WProjectorConfig(early="yes")  # type: ignore[arg-type]
