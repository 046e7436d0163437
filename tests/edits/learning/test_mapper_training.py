"""Mappers that are trained for a phrase, by a small CLIP with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from support.networks import tame_stylegan2
from support.text_models import save_clip

from pti_hub import PTIPipeline
from pti_hub.edits import LatentMapper, MapperEdit
from pti_hub.edits.learning import MapperTrainingConfig, TextLoss, TextModel, Words, train_mapper
from pti_hub.errors import InputError
from pti_hub.generators import broadcast_ws
from pti_hub.optim import LoopCheckpoint
from pti_hub.perceptual import LPIPS

CONFIG = MapperTrainingConfig(num_steps=60, learning_rate=0.5, check_interval=30, held_out=8)
SHORT = MapperTrainingConfig(num_steps=12, learning_rate=0.5, check_interval=5, held_out=4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    return TextModel(str(save_clip(tmp_path_factory.mktemp("clip"))))


@pytest.fixture
def loss(model: TextModel, perceptual: LPIPS) -> TextLoss:
    words = Words(lambda: pytest.fail("it needs no samples"), model)
    return TextLoss(tame_stylegan2(), {}, words.distance("a person with a beard"), perceptual)


def latents(loss: TextLoss, count: int, seed: int = 0) -> torch.Tensor:
    z = torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))
    return loss.generator.mapping(z, truncation=0.8)


@torch.no_grad()
def similarities(loss: TextLoss, ws: torch.Tensor) -> torch.Tensor:
    return 1 - loss.distance(loss.render(ws))


def test_the_similarity_rises_on_latents_never_seen(loss: TextLoss) -> None:
    trained = train_mapper(latents(loss, 60), loss, CONFIG)
    ws = broadcast_ws(loss.generator, latents(loss, 40, seed=1))
    before, after, back = (
        similarities(loss, MapperEdit(trained.mapper, strength).apply(ws)) for strength in (0.0, 1.0, -1.0)
    )
    assert (after > before).float().mean() > 0.9
    # As a random offset of that length does not.
    offsets = MapperEdit(trained.mapper).apply(ws) - ws
    other = torch.randn(ws.shape, generator=torch.Generator().manual_seed(2))
    other *= offsets.norm() / other.norm()
    assert after.mean() - before.mean() > 3 * abs(similarities(loss, ws + other).mean() - before.mean())
    assert after.mean() > before.mean() > back.mean()
    metrics = trained.metrics
    assert metrics["raised"] > 0.9
    assert metrics["similarity_after"] > metrics["similarity_before"]
    assert metrics["length"] == pytest.approx(
        float(offsets.square().sum(-1).mean().sqrt() / loss.generator.w_std), rel=0.3
    )


def test_a_mapper_is_saved_whole(loss: TextLoss, tmp_path: Path) -> None:
    mapper = train_mapper(latents(loss, 20), loss, SHORT).mapper
    mapper.save_pretrained(tmp_path / "mapper")
    loaded = LatentMapper.from_pretrained(tmp_path / "mapper")
    ws = broadcast_ws(loss.generator, latents(loss, 3, seed=1))
    pictures = [loss.render(MapperEdit(m).apply(ws)) for m in (mapper, loaded)]
    assert torch.equal(*pictures)
    assert not torch.equal(pictures[0], loss.render(ws))
    assert loaded.provenance == mapper.provenance
    assert "12 steps to 'a person with a beard'" in loaded.provenance


def test_a_larger_weight_makes_smaller_steps(loss: TextLoss) -> None:
    lengths = [
        train_mapper(
            latents(loss, 20), loss, MapperTrainingConfig(num_steps=30, learning_rate=0.5, held_out=4, l2_weight=weight)
        ).metrics["length"]
        for weight in (0.0, 30.0)
    ]
    assert lengths[0] > 1.5 * lengths[1] > 0


def test_training_is_resumed_to_the_bit(loss: TextLoss, tmp_path: Path) -> None:
    whole = train_mapper(latents(loss, 20), loss, SHORT)
    checkpoint = LoopCheckpoint(tmp_path / "mapper.safetensors", every=4)

    def killed(step: int, losses: dict[str, torch.Tensor]) -> None:
        if step == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_mapper(latents(loss, 20), loss, SHORT, on_step=killed, checkpoint=checkpoint)
    steps: list[int] = []
    torch.manual_seed(99)
    resumed = train_mapper(
        latents(loss, 20), loss, SHORT, on_step=lambda step, losses: steps.append(step), checkpoint=checkpoint
    )
    assert steps[0] == 8
    for name, weight in whole.mapper.state_dict().items():
        assert torch.equal(weight, resumed.mapper.state_dict()[name]), name


def test_latents_may_have_layers(loss: TextLoss) -> None:
    plain = latents(loss, 20)
    one, other = (
        train_mapper(given, loss, SHORT).mapper.state_dict() for given in (plain, broadcast_ws(loss.generator, plain))
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_levels_are_those_of_the_generator(loss: TextLoss, pipe: PTIPipeline, perceptual: LPIPS) -> None:
    small = TextLoss(pipe.generator, {}, loss.distance, perceptual)
    given = pipe.generator.mapping(torch.randn(20, 16, generator=torch.Generator().manual_seed(1)), truncation=0.5)
    assert list(train_mapper(given, small, SHORT).mapper.levels) == ["coarse", "medium"]
    assert list(train_mapper(latents(loss, 20), loss, SHORT).mapper.levels) == ["coarse", "medium", "fine"]


def test_what_can_not_be_trained(loss: TextLoss) -> None:
    with pytest.raises(InputError, match="5 latents, of which 4 are held out"):
        train_mapper(latents(loss, 5), loss, SHORT)
    with pytest.raises(InputError, match=r"latent of shape \[20, 8\]"):
        train_mapper(torch.zeros(20, 8), loss, SHORT)
    stiff = MapperTrainingConfig(num_steps=2, held_out=4, l2_weight=1e9)
    with pytest.raises(InputError, match="brings latents that it has not seen no nearer") as caught:
        train_mapper(latents(loss, 20), loss, stiff)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", [{"num_steps": 0}, {"held_out": 0}, {"batch_size": 0}, {"identity_weight": -0.1}])
def test_settings_that_make_no_sense(setting: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(setting))}=.*; expected"):
        MapperTrainingConfig(**setting)  # type: ignore[arg-type]
