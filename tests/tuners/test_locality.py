"""Locality regularisation (Eq. 4-7)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pti_hub import InputError, PivotalTuner, PivotalTunerConfig
from pti_hub.generators import MobileStyleGAN, tuned_synthesis
from pti_hub.perceptual import LPIPS
from pti_hub.personalization import add_deltas
from pti_hub.tuners import Tuning
from pti_hub.tuners.locality import interpolated_code, locality_loss


@given(st.floats(0.1, 200), st.integers(0, 1000))
def test_the_code_lies_at_distance_alpha_towards_the_sample(alpha: float, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    pivot, w_z = torch.randn(1, 8, 16, generator=random), torch.randn(3, 8, 16, generator=random)
    w_r = interpolated_code(pivot, w_z, alpha)
    moved, whole = (w_r - pivot).flatten(1), (w_z - pivot).flatten(1)
    torch.testing.assert_close(moved.norm(dim=1), torch.full((3,), alpha), rtol=1e-3, atol=1e-4)
    cosine = torch.nn.functional.cosine_similarity(moved, whole)
    torch.testing.assert_close(cosine, torch.ones(3), rtol=1e-4, atol=1e-4)


def test_alpha_of_the_full_distance_is_the_sample() -> None:
    pivot, w_z = torch.randn(1, 8, 16), torch.randn(1, 8, 16)
    torch.testing.assert_close(interpolated_code(pivot, w_z, (w_z - pivot).norm().item()), w_z)


def test_untuned_weights_cost_nothing_and_changed_ones_do(generator: MobileStyleGAN, perceptual: LPIPS) -> None:
    def loss(theta: dict[str, torch.Tensor]) -> float:
        z = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
        return locality_loss(generator, theta, perceptual, generator.w_avg[None], z, alpha=3.0).item()

    theta = {name: p.detach().clone() for name, p in generator.named_parameters()}
    # In bfloat16 even equal pictures differ a little.
    untouched = loss(theta)
    theta["to_image.bias"] = theta["to_image.bias"] + 0.5
    assert untouched < 0.02 * loss(theta)


def test_it_keeps_the_rest_of_the_generator_in_place(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: torch.Tensor
) -> None:
    def tune(weight: float) -> Tuning:
        config = PivotalTunerConfig(
            num_steps=40, learning_rate=1e-2, lpips_threshold=0.0, locality_weight=weight, locality_alpha=6.0
        )
        return PivotalTuner(config).tune(generator, perceptual, [generator.w_avg[None]], [photograph[None]])

    def drift(tuning: Tuning) -> float:
        w = generator.mapping(torch.randn(8, 16, generator=torch.Generator().manual_seed(9)))
        tuned = tuned_synthesis(generator, add_deltas(generator, tuning.deltas), w)
        return (tuned - generator.synthesis(w)).square().mean().item()

    assert drift(tune(5.0)) < 0.7 * drift(tune(0.0))


def test_the_seed_decides(generator: MobileStyleGAN, perceptual: LPIPS, photograph: torch.Tensor) -> None:
    tuner = PivotalTuner(PivotalTunerConfig(num_steps=2, lpips_threshold=0.0, locality_weight=1.0, locality_samples=2))
    first, again, other = (
        tuner.tune(generator, perceptual, [generator.w_avg[None]], [photograph[None]], seed).deltas["conv.weight"]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("values", [{"locality_weight": -0.1}, {"locality_alpha": 0.0}, {"locality_samples": 0}])
def test_bad_hyper_parameters(values: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected"):
        PivotalTunerConfig(**values)  # type: ignore[arg-type]
