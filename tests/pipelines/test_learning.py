"""Edits of one's own: from folders of examples, and from words."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.networks import tiny_encoder
from support.text_models import save_clip

from pti_hub import Direction, InputError, PTIPipeline
from pti_hub.edits import MeasuredEdit
from pti_hub.edits.learning import Samples, TextModel, Words
from pti_hub.errors import WeightsError
from pti_hub.images import to_pil
from pti_hub.pipelines.learning import learn_from_examples


def write_pictures(pipe: PTIPipeline, folder: Path, ws: torch.Tensor) -> Path:
    folder.mkdir(parents=True)
    for i, picture in enumerate(to_pil(pipe.generator.synthesis(ws))):
        picture.save(folder / f"{i}.png")
    return folder


def write_latents(folder: Path, ws: torch.Tensor) -> Path:
    folder.mkdir(parents=True)
    for i, w in enumerate(ws):
        np.save(folder / f"{i}.npy", w.numpy())
    return folder


def people(pipe: PTIPipeline, count: int = 5) -> torch.Tensor:
    z = torch.randn(count, 16, generator=torch.Generator().manual_seed(6))
    return pipe.generator.mapping(z, truncation=0.7)


def test_photographs_go_through_the_encoder(pipe: PTIPipeline, tmp_path: Path) -> None:
    pipe.encoder = tiny_encoder()
    plain = people(pipe)
    folders = [write_pictures(pipe, tmp_path / name, w) for name, w in (("plain", plain), ("with", plain + 1))]
    direction = learn_from_examples(pipe, "brighter", *folders)
    assert (direction.name, direction.space) == ("brighter", "W")
    assert "folders plain and with" in direction.provenance
    pipe.edits["brighter"] = direction
    (edit,) = pipe.parse("brighter=2")
    assert edit.apply(people(pipe)[:, None].expand(-1, 8, -1)).shape == (5, 8, 16)  # type: ignore[union-attr]


def test_folders_of_latents(pipe: PTIPipeline, tmp_path: Path) -> None:
    change = torch.randn(16, generator=torch.Generator().manual_seed(7))
    plain, other = write_latents(tmp_path / "a", people(pipe)), write_latents(tmp_path / "b", people(pipe) + change)
    found = learn_from_examples(pipe, "changed", plain, other).vector
    assert F.cosine_similarity(found, change, dim=0) > 0.999
    # W and W+ in one call.
    layered = write_latents(tmp_path / "c", people(pipe)[:, None].expand(-1, 8, -1) + torch.randn(8, 16))
    assert learn_from_examples(pipe, "changed", plain, layered).vector.shape == (8, 16)


def test_pictures_that_cannot_be_used_are_left_out(
    pipe: PTIPipeline, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipe.encoder = tiny_encoder()
    folders = [write_pictures(pipe, tmp_path / name, people(pipe) + k) for k, name in enumerate(("plain", "with"))]
    (folders[1] / "0.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        assert learn_from_examples(pipe, "x", *folders).metrics["with"] == 4
    assert "0.png is left out" in caplog.text
    for name in ("1.png", "2.png"):
        (folders[1] / name).unlink()
    with pytest.raises(InputError, match=r"2 of 3 pictures in .* can be used") as caught:
        learn_from_examples(pipe, "x", *folders)
    assert "\n" not in str(caught.value)


def test_folders_that_teach_nothing(pipe: PTIPipeline, tmp_path: Path) -> None:
    plain = write_pictures(pipe, tmp_path / "plain", people(pipe))
    (tmp_path / "empty").mkdir()
    both = write_pictures(pipe, tmp_path / "both", people(pipe))
    np.save(both / "w.npy", people(pipe)[0].numpy())
    for folder, message in (
        (tmp_path / "none", "is no folder"),
        (tmp_path / "empty", "holds no example"),
        (both, "holds both pictures and latents"),
        (plain, "has no encoder"),
    ):
        with pytest.raises(InputError, match=message):
            learn_from_examples(pipe, "x", folder, plain)


@pytest.fixture
def talking(pipe: PTIPipeline, tmp_path_factory: pytest.TempPathFactory) -> PTIPipeline:
    """A pipeline with a small text model and few samples."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("text")
    pipe.text_model = str(save_clip(folder / "clip"))
    samples = Samples(pipe.generator, 150, folder, 0, {"disable": True})
    pipe._words = Words(lambda: samples, TextModel(pipe.text_model), "a photo")
    return pipe


def test_an_edit_in_words(talking: PTIPipeline, photograph: torch.Tensor) -> None:
    out = talking(photograph, edit=["a person with a beard", "text:hat=-1"])
    assert [edit.direction.name for edit in out.edits[0]] == ["text:a person with a beard", "text:hat"]  # type: ignore[union-attr]
    assert np.abs(np.asarray(out.images[0], int) - np.asarray(out.reconstruction[0])).max() > 0
    again = talking.edit(out.personalization, ["a person with a beard", "text:hat=-1"])
    assert np.array_equal(np.asarray(again[0]), np.asarray(out.images[0]))


def test_likeness_to_a_phrase_is_measured_without_a_face(talking: PTIPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    (edit,) = talking.parse("red lips=0.5")
    assert isinstance(edit, MeasuredEdit)
    seen: list[float] = []

    def look(strength: float) -> float:
        seen.append(strength)
        ws = edit.direction.apply(talking.generator.w_avg[None], strength)
        return edit.measure.of(to_pil(talking.generator.synthesis(ws))[0], talking.perceptual)

    assert abs(edit.resolve(look).strength) <= 1.0
    assert seen[0] == 0.0


def test_a_phrase_is_saved_as_a_plain_vector(talking: PTIPipeline, tmp_path: Path) -> None:
    talking.edits["lips"] = talking.words.direction("red lips").renamed("lips")
    talking.save_pretrained(tmp_path / "pipe")
    loaded: Direction = PTIPipeline.from_pretrained(tmp_path / "pipe", device="cpu").edits["lips"]
    assert loaded.step is None
    assert torch.equal(loaded.vector, talking.edits["lips"].vector)


def test_no_text_model(pipe: PTIPipeline, photograph: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr("pti_hub.pipelines.inversion.project", lambda *args: pytest.fail("the long work began"))
    pipe.text_model = "nobody/nothing"
    with pytest.raises(WeightsError, match="the text model 'nobody/nothing' can't be loaded"):
        pipe(photograph, edit="a red hat")
    with pytest.raises(InputError, match="expected a Hub id"):
        pipe.text_model = ""


def test_a_misspelt_edit_is_found_before_words_take_minutes(pipe: PTIPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Words, "direction", lambda *args: pytest.fail("the long work began"))
    with pytest.raises(InputError, match="no edit is named 'smlie'"):
        pipe.parse(["a beard of gold", "smlie"])


def test_a_new_generator_has_words_of_its_own(talking: PTIPipeline) -> None:
    before = talking.words
    talking.generator = talking.generator
    assert talking.words is not before
