"""Pivotal tuning (Eq. 2), of one photograph and of many (Eq. 3)."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pti_hub import InputError, PivotalTuner, PivotalTunerConfig
from pti_hub.generators import MobileStyleGAN, StyleGAN2, tuned_synthesis
from pti_hub.perceptual import LPIPS
from pti_hub.personalization import add_deltas
from pti_hub.tuners.loop import draw_photographs


def tune(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor, **config: float) -> object:
    tuner = PivotalTuner(PivotalTunerConfig(**{"learning_rate": 3e-3, "lpips_threshold": 0.0, **config}))  # type: ignore[arg-type]
    return tuner.tune(generator, perceptual, [generator.w_avg[None]], [photograph[None]])


def test_the_pivot_becomes_the_photograph(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor) -> None:
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    start = generator.synthesis(generator.w_avg[None])
    tuning = tune(generator, perceptual, photograph, num_steps=80, learning_rate=1e-2)
    assert tuning.metrics[0]["lpips"] < 0.5 * perceptual(start, photograph[None]).item()
    assert tuning.metrics[0]["mse"] < 0.5 * F.mse_loss(start, photograph[None]).item()
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert not any(p.requires_grad for p in generator.parameters())


def test_metrics_are_those_of_the_saved_weights(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor
) -> None:
    tuning = tune(generator, perceptual, photograph, num_steps=5)
    picture = tuned_synthesis(generator, add_deltas(generator, tuning.deltas), generator.w_avg[None])
    assert tuning.metrics[0]["lpips"] == perceptual(picture, photograph[None]).item()
    assert tuning.metrics[0]["mse"] == F.mse_loss(picture, photograph[None]).item()


def test_the_mapping_network_is_not_tuned(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor) -> None:
    tuning = tune(generator, perceptual, photograph, num_steps=1)
    names = {name for name, _ in generator.named_parameters() if not name.startswith("mapping_network.")}
    assert tuning.deltas.keys() == names


def test_it_stops_at_the_threshold(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor) -> None:
    tuning = tune(generator, perceptual, photograph, num_steps=50, lpips_threshold=1e3, check_interval=5)
    assert tuning.num_steps == 0
    assert all(not d.any() for d in tuning.deltas.values())


def test_the_best_weights_are_kept(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor) -> None:
    start = generator.synthesis(generator.w_avg[None])
    with pytest.warns(RuntimeWarning, match="diverged"):
        tuning = tune(generator, perceptual, photograph, num_steps=20, learning_rate=10.0, check_interval=1)
    assert tuning.metrics[0]["lpips"] + tuning.metrics[0]["mse"] <= (
        perceptual(start, photograph[None]) + F.mse_loss(start, photograph[None])
    ).item() * (1 + 1e-5)


def test_weights_of_the_losses(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor) -> None:
    only_l2 = tune(generator, perceptual, photograph, num_steps=30, lpips_weight=0.0)
    only_lpips = tune(generator, perceptual, photograph, num_steps=30, l2_weight=0.0)
    assert only_l2.metrics[0]["mse"] < only_lpips.metrics[0]["mse"]
    assert only_l2.metrics[0]["lpips"] > only_lpips.metrics[0]["lpips"]


@pytest.fixture
def cast(generator: MobileStyleGAN) -> tuple[list[Tensor], list[Tensor]]:
    """Three pivots, and pictures of pivots beside them."""
    z = torch.randn(6, 16, generator=torch.Generator().manual_seed(4))
    w = generator.mapping(z, truncation=0.5)
    return [p[None] for p in w[:3]], [generator.synthesis(p[None]).clamp(-1, 1) for p in w[3:]]


def test_many_identities_share_a_generator(
    generator: MobileStyleGAN, perceptual: LPIPS, cast: tuple[list[Tensor], list[Tensor]]
) -> None:
    pivots, targets = cast
    before = [perceptual(generator.synthesis(p), t).item() for p, t in zip(pivots, targets, strict=True)]
    config = PivotalTunerConfig(
        num_steps=30, learning_rate=3e-3, l2_weight=1.0, lpips_threshold=0.0, locality_alpha=6.0
    )
    tuning = PivotalTuner(config).tune(generator, perceptual, pivots, targets)
    assert len(tuning.metrics) == 3
    theta = add_deltas(generator, tuning.deltas)
    for pivot, target, metrics in zip(pivots, targets, tuning.metrics, strict=True):
        assert metrics["lpips"] == perceptual(tuned_synthesis(generator, theta, pivot), target).item()
    assert sum(metrics["lpips"] for metrics in tuning.metrics) < 0.5 * sum(before)
    assert tuning.num_steps == 30 * 3


def test_who_is_done_waits_for_the_others(
    generator: MobileStyleGAN, perceptual: LPIPS, cast: tuple[list[Tensor], list[Tensor]]
) -> None:
    pivots, targets = cast
    done = generator.synthesis(pivots[0])
    config = PivotalTunerConfig(num_steps=4, check_interval=4, learning_rate=1e-6, shared_locality_weight=0.0)
    tuning = PivotalTuner(config).tune(generator, perceptual, pivots, [done, *targets[1:]])
    # All three in the first round, two in each of the next three.
    assert tuning.num_steps == 3 + 3 * 2


@given(st.lists(st.floats(0, 5), min_size=1, max_size=20), st.integers(0, 1000))
def test_those_that_lag_get_moredraw_photographs(distances: list[float], seed: int) -> None:
    turns = draw_photographs(distances, torch.Generator().manual_seed(seed))
    assert len(turns) == len(distances)
    shares = [max(d, 1e-8) * len(distances) / sum(max(d, 1e-8) for d in distances) for d in distances]
    for i, share in enumerate(shares):
        assert math.floor(share - 1e-6) <= turns.count(i) <= math.ceil(share + 1e-6)


def test_the_order_of_identities_is_the_seed_s(
    generator: MobileStyleGAN, perceptual: LPIPS, cast: tuple[list[Tensor], list[Tensor]]
) -> None:
    tuner = PivotalTuner(PivotalTunerConfig(num_steps=3, lpips_threshold=0.0, shared_locality_weight=0.0))
    one, same, other = (tuner.tune(generator, perceptual, *cast, seed).deltas["conv.weight"] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_batch_is_one_step_on_a_mean(
    generator: MobileStyleGAN, perceptual: LPIPS, cast: tuple[list[Tensor], list[Tensor]]
) -> None:
    config = PivotalTunerConfig(num_steps=4, check_interval=4, lpips_threshold=0.0, locality_alpha=6.0)
    seen: list[int] = []
    for size in (1, 3, 50):
        config = dataclasses.replace(config, batch_size=size)
        tuning = PivotalTuner(config).tune(generator, perceptual, *cast, on_step=lambda step, _: seen.append(step))
        # Every photograph has its turn, however they are grouped.
        assert tuning.num_steps == 12
    assert seen == 3 * list(range(12))


def test_pivots_move_along_where_asked(
    generator: MobileStyleGAN, perceptual: LPIPS, cast: tuple[list[Tensor], list[Tensor]]
) -> None:
    pivots, targets = cast
    still = PivotalTunerConfig(num_steps=20, learning_rate=1e-9, lpips_threshold=0.0, shared_locality_weight=0.0)
    fixed = PivotalTuner(still).tune(generator, perceptual, pivots, targets)
    assert all(torch.equal(*pair) for pair in zip(fixed.pivots, pivots, strict=True))
    moving = dataclasses.replace(still, pivot_learning_rate=0.05)
    moved = PivotalTuner(moving).tune(generator, perceptual, pivots, targets)
    for before, after, fix, move in zip(pivots, moved.pivots, fixed.metrics, moved.metrics, strict=True):
        assert not torch.equal(before, after)
        assert move["lpips"] + move["mse"] < fix["lpips"] + fix["mse"]


def test_pivots_of_another_generator(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor) -> None:
    for shape in ((1, 15), (1, 7, 16), (16,), (2, 16)):
        with pytest.raises(InputError, match=r"of shape .*; expected"):
            PivotalTuner().tune(generator, perceptual, [torch.zeros(shape)], [photograph[None]])


def test_one_pivot_a_target(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor) -> None:
    for pivots, targets in [([], []), ([], [photograph[None]])]:
        with pytest.raises(InputError, match="give one pivot per target"):
            PivotalTuner().tune(generator, perceptual, pivots, targets)


def test_the_paper_schedule(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor) -> None:
    config = PivotalTunerConfig.paper()
    assert (config.num_steps, config.learning_rate, config.lpips_weight, config.l2_weight) == (350, 3e-4, 1.0, 1.0)
    # Three of its steps are PyTorch's Adam on the plain loss of Eq. 2, over all weights.
    config = dataclasses.replace(config, num_steps=3, check_interval=100)
    likeness = SomeoneElse(photograph)
    tuning = PivotalTuner(config).tune(
        generator, perceptual, [generator.w_avg[None]], [photograph[None]], likenesses=[likeness]
    )
    names = [name for name, _ in generator.named_parameters() if not name.startswith("mapping_network.")]
    original = dict(generator.named_parameters())
    theta = {name: original[name].detach().clone().requires_grad_() for name in names}
    optimizer = torch.optim.Adam(theta.values(), lr=3e-4)
    for _ in range(3):
        optimizer.zero_grad()
        picture = tuned_synthesis(generator, theta, generator.w_avg[None])
        (perceptual(picture, photograph[None]).mean() + F.mse_loss(picture, photograph[None])).backward()
        optimizer.step()
    # An entry whose gradient is nearly 0 goes either way, since LPIPS is rounded to bfloat16.
    same = [(tuning.deltas[name] - (theta[name] - original[name])).abs() < 1e-4 for name in names]
    assert torch.cat([part.flatten() for part in same]).float().mean() > 0.95
    assert likeness.asked == 0


class SomeoneElse:
    """A face in the middle of the photograph that no picture shows until it has been asked for some times."""

    def __init__(self, photograph: Tensor, patience: int = 1000) -> None:
        self.importance = torch.full((1, 1, *photograph.shape[1:]), 0.25)
        self.importance[..., 16:48, 16:48] = 1
        self.asked, self.patience = 0, patience

    def distance(self, picture: Tensor) -> float:
        assert picture.shape == (1, 3, *self.importance.shape[2:])
        self.asked += 1
        return 0.0 if self.asked > self.patience else 1.0


@pytest.mark.parametrize(("patience", "steps"), [(0, 0), (2, 4), (1000, 10)])
def test_it_goes_on_until_it_is_the_same_face(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor, patience: int, steps: int
) -> None:
    config = PivotalTunerConfig(num_steps=10, lpips_threshold=1e3, check_interval=2)
    likeness = SomeoneElse(photograph, patience)
    inputs = (generator, perceptual, [generator.w_avg[None]], [photograph[None]])
    tuning = PivotalTuner(config).tune(*inputs, likenesses=[likeness])
    assert tuning.num_steps == steps
    assert tuning.metrics[0].keys() == {"lpips", "mse", "lpips_face"}
    ignoring = dataclasses.replace(config, identity_threshold=0.0)
    assert PivotalTuner(ignoring).tune(*inputs, likenesses=[likeness]).num_steps == 0


def test_the_weights_that_pass_are_kept(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor) -> None:
    # A rate at which the loss rises again, so that the least loss was seen before the last check.
    config = PivotalTunerConfig(num_steps=40, lpips_threshold=1e3, check_interval=1, learning_rate=0.05)
    shown: list[Tensor] = []

    class Recording(SomeoneElse):
        def distance(self, picture: Tensor) -> float:
            shown.append(picture)
            return super().distance(picture)

    pivot = generator.w_avg[None]
    tuning = PivotalTuner(config).tune(
        generator, perceptual, [pivot], [photograph[None]], likenesses=[Recording(photograph, 7)]
    )
    assert tuning.num_steps == 7
    passed = tuned_synthesis(generator, add_deltas(generator, tuning.deltas), pivot)
    torch.testing.assert_close(passed, shown[-1], atol=1e-4, rtol=0)


def test_the_face_comes_nearer_than_the_background(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor
) -> None:
    config = PivotalTunerConfig(num_steps=15, learning_rate=1e-3, lpips_weight=0.0, lpips_threshold=0.0)
    inputs = (generator, perceptual, [generator.w_avg[None]], [photograph[None]])
    likeness = SomeoneElse(photograph)
    likeness.importance = likeness.importance**4
    face = {}
    for name, likenesses in (("face", [likeness]), ("all", None)):
        tuning = PivotalTuner(config).tune(*inputs, likenesses=likenesses)
        picture = tuned_synthesis(generator, add_deltas(generator, tuning.deltas), generator.w_avg[None])
        face[name] = F.mse_loss(picture[..., 16:48, 16:48], photograph[None, :, 16:48, 16:48])
    assert face["face"] < face["all"]


@pytest.mark.parametrize("architecture", [MobileStyleGAN, StyleGAN2])
def test_styles_are_tuned_where_asked(
    architecture: type, generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor
) -> None:
    if architecture is StyleGAN2:
        generator = StyleGAN2(64, z_dim=16, w_dim=16, channels=[8] * 5, mapping_layers=1).requires_grad_(False)  # type: ignore[assignment]
        generator.w_avg = torch.ones(16)
    for tunes_styles in (False, True):
        tuning = tune(generator, perceptual, photograph, num_steps=3, tunes_styles=tunes_styles)
        moved = {name for name, delta in tuning.deltas.items() if delta.any()}
        styles = {name for name, p in generator.named_parameters() if p.ndim == 2} & tuning.deltas.keys()
        assert styles
        assert bool(styles & moved) is tunes_styles


def test_one_likeness_a_target(generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor) -> None:
    with pytest.raises(InputError, match="2 likenesses and 1 targets"):
        PivotalTuner().tune(generator, perceptual, [generator.w_avg[None]], [photograph[None]], likenesses=[None, None])


@pytest.mark.parametrize(
    "values",
    [
        {"num_steps": 0},
        {"num_steps": 1.5},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"l2_weight": -1.0},
        {"lpips_threshold": "low"},
        {"check_interval": True},
    ],
)
def test_bad_hyper_parameters(values: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected"):
        PivotalTunerConfig(**values)  # type: ignore[arg-type]


def test_a_target_of_another_size(generator: MobileStyleGAN, perceptual: LPIPS) -> None:
    with pytest.raises(InputError, match=r"target of shape \[1, 3, 32, 32\]"):
        PivotalTuner().tune(generator, perceptual, [generator.w_avg[None]], [torch.zeros(1, 3, 32, 32)])


def test_a_diverging_tuning_stops_and_keeps_the_best(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: Tensor
) -> None:
    config = PivotalTunerConfig(num_steps=40, check_interval=2, learning_rate=1e6, lpips_threshold=0.0)
    with pytest.warns(RuntimeWarning, match="tuning diverged at step 2 of 40.*best weights"):
        tuning = PivotalTuner(config).tune(generator, perceptual, [generator.w_avg[None]], [photograph[None]])
    assert tuning.stopped is not None and tuning.stopped.startswith("diverged at step 2")
    assert tuning.num_steps == 2
    assert all(not delta.any() for delta in tuning.deltas.values())
