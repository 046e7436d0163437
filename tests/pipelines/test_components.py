"""The parts of a pipeline are swapped, moved, and kept consistent."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from support.networks import tiny_encoder
from support.pictures import pixels

from pti_hub import PRESETS, InputError, PTIPipeline, WProjector
from pti_hub.generators import MobileStyleGAN
from pti_hub.projectors import (
    EncoderProjector,
    EncoderProjectorConfig,
    MeanProjector,
    Projector,
    RandomProjector,
    WPlusProjector,
)


@pytest.mark.parametrize("projector", [WPlusProjector(), MeanProjector(), RandomProjector()])
def test_projectors_are_swapped_and_saved(
    pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path, projector: Projector
) -> None:
    steps = {"num_steps": 2, "resolution": 64} if projector.config.num_steps else {}
    pipe.projector = type(projector)(dataclasses.replace(projector.config, **steps))  # type: ignore[call-arg]
    ada = pipe(photograph, edit="smile").personalization
    assert ada.pivots["subject"].shape == ((8, 16) if isinstance(projector, WPlusProjector) else (16,))
    pipe.save_pretrained(tmp_path / "saved")
    loaded = PTIPipeline.from_pretrained(tmp_path / "saved", device="cpu").projector
    assert type(loaded) is type(projector)
    assert loaded.config == pipe.projector.config


def test_a_pipeline_is_made_again_of_its_components(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    again = PTIPipeline(**pipe.components)
    again.set_progress_bar_config(disable=True)
    assert again.base == pipe.base
    assert again.components == pipe.components
    ada = pipe(photograph).personalization
    assert np.array_equal(pixels(again(ada, edit="smile").images), pixels(pipe(ada, edit="smile").images))


def test_presets(pipe: PTIPipeline) -> None:
    pipe.set_preset("paper")
    assert (pipe.projector.config, pipe.tuner.config) == PRESETS["paper"]
    with pytest.raises(InputError, match="preset='fast'; expected one of: default, paper"):
        pipe.set_preset("fast")


def test_a_new_generator_is_a_new_base(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    ada = pipe(photograph).personalization
    pipe.load_personalization(ada)
    torch.manual_seed(9)
    pipe.generator = MobileStyleGAN(z_dim=16, w_dim=16, channels=(16, 16, 8, 8), mapping_layers=2)
    assert not any(p.requires_grad for p in pipe.generator.parameters())
    for known in (ada, "subject"):
        with pytest.raises(InputError, match="load that base"):
            pipe(known)


def test_devices_and_types(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    with pytest.raises(InputError, match="device='abacus'"):
        pipe.to("abacus")
    with pytest.raises(InputError, match="floating-point"):
        pipe.to(dtype=torch.int8)
    ada = pipe(photograph).personalization
    full = pixels(pipe.edit(ada)[0]).astype(int)
    pipe.to(dtype=torch.bfloat16)
    assert 0 < np.abs(pixels(pipe.edit(ada)[0]) - full).mean() < 1.5
    assert pipe(photograph).metrics[0]["lpips"] < 1.5 * ada.metrics["subject"]["lpips"]


def test_auto_takes_the_encoder_where_there_is_one(pipe: PTIPipeline) -> None:
    bare = PTIPipeline(pipe.generator, pipe.perceptual)
    assert isinstance(bare.projector, WProjector)
    assert bare.encoder is None
    bare.encoder = tiny_encoder()
    assert isinstance(bare.projector, WProjector)
    bare.projector = "auto"
    assert isinstance(bare.projector, EncoderProjector)
    assert bare.projector.config.refine_steps == 12
    given = PTIPipeline(pipe.generator, pipe.perceptual, encoder=tiny_encoder())
    assert isinstance(given.projector, EncoderProjector)
    given.set_preset("paper")
    assert isinstance(given.projector, WProjector)
    given.set_preset("default")
    assert isinstance(given.projector, EncoderProjector)
    with pytest.raises(InputError, match="projector='fast'; expected 'auto'"):
        given.projector = "fast"  # type: ignore[assignment]


def test_an_encoder_that_is_set_is_the_one_that_is_asked(pipe: PTIPipeline) -> None:
    first, second = tiny_encoder(), tiny_encoder()
    pipe.projector = EncoderProjector(first, EncoderProjectorConfig(refine_steps=3))
    assert pipe.encoder is first
    pipe.encoder = second
    assert isinstance(pipe.projector, EncoderProjector)
    assert pipe.projector.encoder is pipe.encoder is second
    assert pipe.projector.config.refine_steps == 3
    pipe.projector.encoder = first
    pipe.projector = "auto"
    assert pipe.encoder is first
    pipe.set_preset("paper")
    pipe.set_preset("default")
    assert pipe.encoder is first
    pipe.encoder = None
    assert isinstance(pipe.projector, WProjector)
    assert pipe.encoder is None
    pipe.projector = None
    assert isinstance(pipe.projector, WProjector)
