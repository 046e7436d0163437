"""Pictures as tensors, through which gradients flow, and the processor's own way with pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("transformers")

from support.text_models import save_clip, save_siglip

from pti_hub.edits.learning import TextModel, Words
from pti_hub.errors import InputError, WeightsError
from pti_hub.images import to_pil


@pytest.fixture(params=[save_clip, save_siglip], scope="module")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    save: Callable[[Path], Path] = request.param
    return TextModel(str(save(tmp_path_factory.mktemp("model"))))


def smooth(count: int = 6, size: int = 64) -> torch.Tensor:
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    return F.interpolate(coarse, size=(size, size), mode="bicubic")


@pytest.mark.parametrize("size", [64, 40, 24])
def test_tensors_are_embedded_as_pictures_are(model: TextModel, size: int) -> None:
    pictures = smooth(size=size)
    ours, theirs = model.embed(pictures), model.of_pictures(to_pil(pictures))
    assert (ours * theirs).sum(-1).min() > 0.999
    # Different pictures differ by more than the two ways do.
    assert (ours[0] - ours[1]).norm() > 3 * (ours - theirs).norm(dim=-1).max()


def test_a_centre_is_cropped(tmp_path: Path) -> None:
    folder = save_clip(tmp_path / "clip")
    change_processor(folder, {"size": {"shortest_edge": 44}})
    model = TextModel(str(folder))
    assert model.picture_size == 44
    assert (model.embed(smooth()) * model.of_pictures(to_pil(smooth()))).sum(-1).min() > 0.999


def test_gradients_flow_into_the_picture_alone(model: TextModel) -> None:
    picture = (smooth(1) * 0.7).requires_grad_()
    goal = model.of_phrases(["a hat"])[0]
    before = model.embed(picture) @ goal
    before.backward()
    assert picture.grad is not None
    assert picture.grad.abs().max() > 0
    assert all(p.grad is None and not p.requires_grad for p in model._parts[0].parameters())
    step = picture.grad / picture.grad.norm() * 0.1
    with torch.no_grad():
        assert model.embed(picture + step) @ goal > before > model.embed(picture - step) @ goal


def test_a_processor_of_another_kind(tmp_path: Path) -> None:
    cut, odd = (save_clip(tmp_path / name) for name in ("cut", "odd"))
    change_processor(cut, {"size": {"longest_edge": 32}})
    with pytest.raises(WeightsError, match="prepares pictures in a way that has no gradient") as caught:
        TextModel(str(cut)).embed(smooth())
    assert "\n" not in str(caught.value)
    # A processor that does what its settings do not tell.
    model = TextModel(str(odd))
    processor = model._parts[1].image_processor
    honest = processor.to_dict()
    processor.image_mean, processor.to_dict = (-3.0, 2.0, 3.0), lambda: honest
    with pytest.raises(WeightsError, match="cosine"):
        model.embed(smooth())
    with pytest.raises(WeightsError, match="cosine"):
        model.picture_size  # noqa: B018


def change_processor(folder: Path, settings: dict[str, Any]) -> None:
    file = folder / "processor_config.json"
    config = json.loads(file.read_text())
    config["image_processor"] |= settings
    file.write_text(json.dumps(config))


def test_the_distance_to_a_phrase(model: TextModel) -> None:
    words = Words(lambda: pytest.fail("it needs no samples"), model)
    distance = words.distance(" a   hat ")
    (embedded,), pictures = model.of_phrases(["a hat"]), to_pil(smooth())
    assert distance.phrase == "a hat"
    assert distance.resolution == model.picture_size
    assert torch.allclose(distance(smooth()), 1 - model.of_pictures(pictures) @ embedded, atol=0.02)
    for phrase, message in (("  ", "is empty"), ("a face", "means the same as 'a face'")):
        with pytest.raises(InputError, match=message):
            words.distance(phrase)
