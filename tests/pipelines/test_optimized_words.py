"""Edits in words that are optimised on one person, and mappers that are trained for a phrase."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from support.text_models import save_clip

pytest.importorskip("transformers")

from pti_hub import InputError, Personalization, PTIPipeline
from pti_hub.edits import LatentMapper, MapperEdit, load_edits, save_edits
from pti_hub.edits.learning import LatentOptimizationConfig, MapperTrainingConfig
from pti_hub.pipelines.learning import optimize_words, train_mapper_for_words

FEW = LatentOptimizationConfig(num_steps=6)
SHORT = MapperTrainingConfig(num_steps=6, held_out=4, check_interval=3)


@pytest.fixture
def talking(pipe: PTIPipeline, tmp_path_factory: pytest.TempPathFactory) -> PTIPipeline:
    """A pipeline with a small text model."""
    pipe.text_model = str(save_clip(tmp_path_factory.mktemp("text")))
    return pipe


def latents(pipe: PTIPipeline, count: int = 20) -> torch.Tensor:
    return pipe.generator.mapping(torch.randn(count, 16, generator=torch.Generator().manual_seed(4)), truncation=0.5)


def test_what_is_found_is_a_direction_like_any_other(
    talking: PTIPipeline, ada: Personalization, tmp_path: Path
) -> None:
    seen: list[dict[str, float]] = []
    found = optimize_words(
        talking, "beard", "a beard", ada, config=FEW, callback_on_step_end=lambda step, values: seen.append(values)
    )
    assert [set(values) for values in seen] == [{"stage", "phrase", "identity"}] * 6
    save_edits(tmp_path / "mine", {"beard": found})
    talking.edits |= load_edits(tmp_path / "mine")
    one, named, more = (talking.edit(ada, edit)[0] for edit in (found, "beard", ["beard=2", "smile=-1"]))
    assert np.array_equal(np.asarray(one), np.asarray(named))
    assert not np.array_equal(np.asarray(one), np.asarray(more))
    assert len(talking.walk(ada, "beard", (0, 1))) == 2
    # The person of the pipeline that is named is the same.
    talking.load_personalization(ada)
    again = optimize_words(talking, "beard", "a beard", "subject", config=FEW)
    assert torch.equal(again.vector, found.vector)


def test_who_and_what_must_be_clear(talking: PTIPipeline, ada: Personalization) -> None:
    two = Personalization(ada.deltas, {"ada": ada.pivots["subject"], "bob": ada.pivots["subject"]}, ada.base)
    for identity, name, phrase, message in (
        (two, "x", "a hat", "ada, bob for 'a hat'; expected one identity"),
        ("nobody", "x", "a hat", "no identity 'nobody' is loaded"),
        (ada, "x", " ", "is empty"),
        (ada, "x", "a photo", "means the same as 'a photo'"),
        (ada, "a=b", "a hat", "without '='"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            optimize_words(talking, name, phrase, identity, config=FEW)
        assert "\n" not in str(caught.value)


def test_an_embedder_takes_the_place_of_lpips(talking: PTIPipeline, ada: Personalization) -> None:
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Dropout())
    config = LatentOptimizationConfig(num_steps=6, identity_weight=1.0)
    found = [optimize_words(talking, "x", "a hat", ada, config=config, embedder=e) for e in (network, network, None)]
    assert torch.equal(found[0].vector, found[1].vector)
    assert not torch.equal(found[0].vector, found[2].vector)


def test_a_trained_mapper_goes_where_directions_go(
    talking: PTIPipeline, ada: Personalization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapper = train_mapper_for_words(talking, "a beard", latents=latents(talking), config=SHORT).mapper
    talking.edits["beard"] = mapper
    talking.save_pretrained(tmp_path / "pipe")
    loaded = PTIPipeline.from_pretrained(tmp_path / "pipe", device="cpu")
    assert list(loaded.edits) == ["smile", "age", "beard"]
    alone = LatentMapper.from_pretrained(tmp_path / "pipe" / "edits" / "beard")
    pictures = [talking.edit(ada, mapper), loaded.edit(ada, "beard"), talking.edit(ada, alone)]
    pictures += [loaded.edit(ada, ("beard", 1.0)), loaded.edit(ada, MapperEdit(alone))]
    first, *others = (np.asarray(picture[0]) for picture in pictures)
    assert all(np.array_equal(first, other) for other in others)
    assert not np.array_equal(first, np.asarray(loaded.edit(ada, "beard=-3")[0]))
    for edit, message in (("beard=5deg", "a mapper has no angle"), ("beard_layers0-3", "moves layers of its own")):
        with pytest.raises(InputError, match=message):
            loaded.parse(edit)


def test_training_keeps_its_state_in_a_folder(talking: PTIPipeline, tmp_path: Path) -> None:
    given = latents(talking)
    long = MapperTrainingConfig(num_steps=30, held_out=4, check_interval=30)

    def killed(step: int, values: object) -> None:
        if step == 27:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_mapper_for_words(
            talking, "a beard", latents=given, config=long, run_folder=tmp_path, callback_on_step_end=killed
        )
    (kept,) = tmp_path.iterdir()
    steps: list[int] = []
    # Of another phrase it is another state.
    train_mapper_for_words(talking, "a hat", latents=given, config=SHORT, run_folder=tmp_path)
    assert list(tmp_path.iterdir()) == [kept]
    trained = train_mapper_for_words(
        talking,
        "a beard",
        latents=given,
        config=long,
        run_folder=tmp_path,
        callback_on_step_end=lambda step, values: steps.append(step),
    )
    assert steps == list(range(25, 30))
    # The mapper is not saved yet, so the state stays.
    assert trained.state == kept and kept.exists()


def test_another_identity_loss_is_another_state(talking: PTIPipeline, tmp_path: Path) -> None:
    networks = [torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 8))]
    networks.append(copy.deepcopy(networks[0]))
    networks.append(copy.deepcopy(networks[0]))
    torch.nn.init.ones_(networks[2][2].weight)  # type: ignore[arg-type]
    states = [
        train_mapper_for_words(
            talking, "a beard", latents=latents(talking), config=SHORT, run_folder=tmp_path, embedder=network
        ).state
        for network in networks
    ]
    assert states[0] == states[1] != states[2]
