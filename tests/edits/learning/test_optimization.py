"""Offsets that are found on one picture, by a small CLIP with random weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("transformers")

from support.networks import tame_stylegan2
from support.text_models import save_clip

from pti_hub.edits import Direction
from pti_hub.edits.learning import LatentOptimizationConfig, Samples, TextLoss, TextModel, Words, optimize_direction
from pti_hub.errors import InputError
from pti_hub.generators import StyleGAN2, tuned_synthesis
from pti_hub.optim import GradientPreconditioner
from pti_hub.perceptual import LPIPS

PHRASE = "a person with a beard"
QUICK = LatentOptimizationConfig(num_steps=40)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    return TextModel(str(save_clip(tmp_path_factory.mktemp("clip"))))


@pytest.fixture
def generator() -> StyleGAN2:
    return tame_stylegan2()


@pytest.fixture
def words(generator: StyleGAN2, model: TextModel, tmp_path_factory: pytest.TempPathFactory) -> Words:
    folder = tmp_path_factory.getbasetemp() / "words"
    return Words(lambda: Samples(generator, 300, folder, 0, {"disable": True}), model)


@pytest.fixture
def loss(generator: StyleGAN2, perceptual: LPIPS, words: Words) -> TextLoss:
    return TextLoss(generator, {}, words.distance(PHRASE), perceptual)


@pytest.fixture
def pivot(generator: StyleGAN2) -> torch.Tensor:
    return generator.mapping(torch.randn(1, 16, generator=torch.Generator().manual_seed(5)), truncation=0.7)


@torch.no_grad()
def distance(loss: TextLoss, pivot: torch.Tensor, *vectors: torch.Tensor) -> torch.Tensor:
    """D_CLIP of the picture at each of some offsets."""
    ws = torch.cat([Direction("x", vector).apply(pivot[:, None].expand(-1, 10, -1)) for vector in vectors])
    return loss.distance(tuned_synthesis(loss.generator, loss.weights, ws, resolution=loss.resolution))


def test_the_loss_falls_further_than_along_any_other_offset(loss: TextLoss, words: Words, pivot: torch.Tensor) -> None:
    found = optimize_direction("beard", pivot, loss, QUICK)
    length = found.vector.norm()
    others = torch.randn(40, 16, generator=torch.Generator().manual_seed(1))
    closed = words.direction(PHRASE).vector
    rest = [other / other.norm() * length for other in [*others, closed]]
    start, own, *along = distance(loss, pivot, torch.zeros(16), found.vector, *rest)
    assert own < start - 0.02
    assert own < torch.stack(along).min()
    assert found.metrics["similarity_before"] == pytest.approx(1 - float(start), abs=5e-3)
    assert found.metrics["similarity_after"] == pytest.approx(1 - float(own), abs=5e-3)
    assert found.metrics["length"] == pytest.approx(float(length / loss.generator.w_std), abs=1e-4)
    assert (found.name, found.space, found.step) == ("beard", "W", None)
    assert PHRASE in found.provenance


def test_layers_of_their_own_reach_further(loss: TextLoss, pivot: torch.Tensor) -> None:
    one, many = (
        optimize_direction("x", pivot, loss, LatentOptimizationConfig(num_steps=40, per_layer=per_layer))
        for per_layer in (False, True)
    )
    assert (one.space, many.space) == ("W", "W+")
    assert many.vector.shape == (10, 16)
    assert distance(loss, pivot, many.vector) < distance(loss, pivot, one.vector)


def test_a_larger_weight_keeps_the_latent_nearer(loss: TextLoss, pivot: torch.Tensor) -> None:
    lengths = [
        optimize_direction("x", pivot, loss, LatentOptimizationConfig(num_steps=40, l2_weight=weight)).vector.norm()
        for weight in (0.0, 0.2, 2.0)
    ]
    assert lengths[0] > 1.2 * lengths[1] > 1.2 * 1.2 * lengths[2] > 0


def test_identity_is_lpips_or_what_embeds_it(
    generator: StyleGAN2, perceptual: LPIPS, words: Words, pivot: torch.Tensor
) -> None:
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 8))

    def changes(weight: float, identity: Callable[[torch.Tensor], torch.Tensor] | LPIPS) -> torch.Tensor:
        loss = TextLoss(generator, {}, words.distance(PHRASE), identity)
        config = LatentOptimizationConfig(num_steps=40, identity_weight=weight)
        ws = optimize_direction("x", pivot, loss, config).apply(pivot)
        with torch.no_grad():
            return loss(ws[:, None].expand(-1, 10, -1), loss.reference(pivot[:, None].expand(-1, 10, -1))).identity

    for identity in (perceptual, network):
        assert changes(1.0, identity) < 0.5 * changes(0.0, identity)
    # The embedder learns nothing.
    assert all(p.grad is None for p in network.parameters())


def test_the_tuned_weights_make_the_picture(
    generator: StyleGAN2, perceptual: LPIPS, words: Words, pivot: torch.Tensor
) -> None:
    random = torch.Generator().manual_seed(3)
    weights = {n: p + 0.2 * torch.randn(p.shape, generator=random) for n, p in generator.named_parameters()}
    tuned = TextLoss(generator, weights, words.distance(PHRASE), perceptual)
    plain = TextLoss(generator, {}, words.distance(PHRASE), perceptual)
    of_tuned, of_plain = (optimize_direction("x", pivot, loss, QUICK).vector for loss in (tuned, plain))
    start, own, other = distance(tuned, pivot, torch.zeros(16), of_tuned, of_plain / of_plain.norm() * of_tuned.norm())
    assert own < min(start, other)


def test_the_same_call_finds_the_same_offset(loss: TextLoss, pivot: torch.Tensor) -> None:
    seen: list[float] = []
    first = optimize_direction(
        "x", pivot, loss, QUICK, on_step=lambda step, losses: seen.append(losses["phrase"].item())
    )
    torch.manual_seed(77)
    assert torch.equal(optimize_direction("x", pivot, loss, QUICK).vector, first.vector)
    assert len(seen) == 40
    assert min(seen) < seen[0]


def test_a_pivot_may_have_layers(loss: TextLoss, pivot: torch.Tensor) -> None:
    layered = pivot[:, None].expand(-1, 10, -1)
    assert torch.equal(
        optimize_direction("x", layered, loss, QUICK).vector, optimize_direction("x", pivot, loss, QUICK).vector
    )


def test_natural_gradients_hold_back_what_changes_pictures_most(loss: TextLoss, pivot: torch.Tensor) -> None:
    axes = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(2)))[0][:8]
    preconditioner = GradientPreconditioner(axes, torch.ones(8))
    plain, natural = (
        optimize_direction("x", pivot, loss, LatentOptimizationConfig(num_steps=40, damping=0.001), known).vector
        for known in (None, preconditioner)
    )
    share_plain, share = ((axes @ v).norm() / v.norm() for v in (plain, natural))
    assert share < 0.3 * share_plain
    assert distance(loss, pivot, natural) < distance(loss, pivot, torch.zeros(16))


def test_pictures_are_rendered_no_larger_than_needed(loss: TextLoss, pivot: torch.Tensor) -> None:
    assert loss.resolution == 32 < loss.generator.resolution
    full = loss.generator.synthesis(pivot)
    assert F.mse_loss(loss.render(pivot), F.avg_pool2d(full, 2)) < 0.1 * full.var()
    loss.distance.resolution = 33
    assert TextLoss(loss.generator, {}, loss.distance, loss.identity).resolution == 64


def test_nothing_is_found_where_nothing_may_change(loss: TextLoss, pivot: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"no step brought the picture nearer to 'a person with a beard'") as caught:
        optimize_direction("x", pivot, loss, LatentOptimizationConfig(num_steps=3, l2_weight=1e6))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "setting", [{"num_steps": 0}, {"num_steps": 1.5}, {"step_length": 0.0}, {"l2_weight": -1.0}, {"per_layer": 1}]
)
def test_settings_that_make_no_sense(setting: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(setting))}=.*; expected"):
        LatentOptimizationConfig(**setting)  # type: ignore[arg-type]
