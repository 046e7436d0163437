"""Calling the pipeline: what goes in, what comes out, and what is left as it was."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.pictures import pixels
from torch import Tensor

from pti_hub import Direction, InputError, PTIPipeline
from pti_hub.edits import Edit, LatentMapper, MapperEdit, MeasuredEdit, Step, StyleEdit
from pti_hub.faces import MEASURES, Measure
from pti_hub.generators import MobileStyleGAN
from pti_hub.images import to_pil
from pti_hub.perceptual import LPIPS
from pti_hub.projectors import EncoderProjector, MeanProjector, RandomProjector


def test_a_call_gives_one_entry_per_photograph(pipe: PTIPipeline, photograph: Tensor) -> None:
    out = pipe([photograph, photograph.flip(2)], edit="smile")
    both = [out.images, out.reconstruction, out.edits, out.metrics, out.personalizations, out.aligned, out.projection]
    assert [len(entries) for entries in both] == [2] * 7
    assert out.images[0].size == (64, 64)
    assert out.metrics[0].keys() == {"lpips", "mse", "w_distance", "truncation", "s_distance"}
    assert not np.array_equal(pixels(out.images[0]), pixels(out.reconstruction[0]))
    with pytest.raises(InputError, match="the call had 2 faces"):
        _ = out.personalization


def test_every_kind_of_input_gives_the_same(pipe: PTIPipeline, photograph: Tensor, tmp_path: Path) -> None:
    picture = to_pil(photograph[None])[0]
    picture.save(tmp_path / "photo.png")
    results = [pipe(kind).images[0] for kind in (picture, tmp_path / "photo.png", np.asarray(picture))]
    assert all(np.array_equal(pixels(results[0]), pixels(result)) for result in results)


def test_a_personalization_renders_the_same_again(pipe: PTIPipeline, photograph: Tensor) -> None:
    out = pipe(photograph, edit=["smile", ("age", -0.5)])
    again = pipe(out.personalization, edit=["smile", ("age", -0.5)])
    assert np.array_equal(pixels(out.images[0]), pixels(again.images[0]))
    assert np.array_equal(pixels(out.reconstruction[0]), pixels(again.reconstruction[0]))
    assert again.metrics == out.metrics
    assert again.aligned == []


def test_a_call_leaves_the_pipeline_as_it_was(pipe: PTIPipeline, photograph: Tensor) -> None:
    before = {name: value.clone() for name, value in pipe.generator.state_dict().items()}
    pipe(photograph, edit="smile")
    assert all(torch.equal(value, before[name]) for name, value in pipe.generator.state_dict().items())
    assert pipe.identities == {}


def test_edits_follow_their_order_and_strength(pipe: PTIPipeline, photograph: Tensor) -> None:
    ada = pipe(photograph).personalization
    both = pipe.edit(ada, ["smile", ("age", 2.0)])[0]
    vector = pipe.edits["smile"].vector + 2 * pipe.edits["age"].vector
    assert np.abs(pixels(both).astype(int) - pixels(pipe.edit(ada, Direction("sum", vector))[0])).max() <= 1
    assert np.array_equal(pixels(pipe.edit(ada, ("smile", 0.0))[0]), pixels(pipe.edit(ada)[0]))


def test_a_cast_in_half_precision(pipe: PTIPipeline, photograph: Tensor) -> None:
    pipe.to(dtype=torch.bfloat16)
    cast = pipe.personalize({"ada": photograph, "bob": photograph.flip(2)})
    assert len(pipe(cast, edit="smile").images) == 2


def test_identities_by_name(pipe: PTIPipeline, photograph: Tensor, tmp_path: Path) -> None:
    ada = pipe.personalize({"ada": photograph})
    ada.save_pretrained(tmp_path / "ada")
    pipe.load_personalization(tmp_path / "ada")
    assert list(pipe.identities) == ["ada"]
    assert np.array_equal(pixels(pipe("ada", edit="age").images[0]), pixels(pipe(ada, edit="age").images[0]))
    with pytest.raises(InputError, match="no identity 'bob' is loaded; there are: ada"):
        pipe.edit("bob")


def test_many_identities(pipe: PTIPipeline, photograph: Tensor, tmp_path: Path) -> None:
    pictures = {"ada": photograph, "bob": photograph.flip(2), "cy": photograph.flip(1)}
    cast = pipe.personalize(pictures)
    assert list(cast.pivots) == list(cast.metrics) == ["ada", "bob", "cy"]
    pipe.load_personalization(cast)
    pipe.save_pretrained(tmp_path / "cast")
    loaded = PTIPipeline.from_pretrained(tmp_path / "cast", device="cpu")
    assert list(loaded.identities) == ["ada", "bob", "cy"]
    everyone = pipe(cast, edit="smile").images
    assert len(everyone) == 3
    assert np.array_equal(pixels(loaded("cy", edit="smile").images[0]), pixels(everyone[2]))


def test_several_photographs_of_one_person(pipe: PTIPipeline, photograph: Tensor, tmp_path: Path) -> None:
    cast = pipe.personalize({"ada": [photograph, photograph.flip(2)], "bob": photograph.flip(1)})
    assert list(cast.pivots) == ["ada/1", "ada/2", "bob"]
    pipe.load_personalization(cast)
    assert len(pipe("ada", edit="smile").images) == 2
    assert len(pipe.edit("ada/2", "smile")) == len(pipe.edit("bob", "smile")) == 1
    assert np.array_equal(pixels(pipe.edit("ada", "smile")[1]), pixels(pipe.edit("ada/2", "smile")[0]))


def test_every_kind_of_edit_through_one_argument(pipe: PTIPipeline, photograph: Tensor) -> None:
    cast = pipe.personalize({"ada": photograph, "bob": photograph.flip(2)})
    pipe.load_personalization(cast)
    plain = pixels(pipe.edit("ada")[0])
    for edit in (
        "smile=2",
        "pc0",
        "sefa0_layers0-3=5",
        "mix:bob_layers2-5",
        "mix:seed3",
        "s:3_5=9",
        ["age_layers0-3", "pc1=-2"],
    ):
        assert not np.array_equal(pixels(pipe.edit("ada", edit)[0]), plain), edit
    assert np.array_equal(pixels(pipe.edit("ada", "mix:ada")[0]), plain)
    # Those of a personalisation that is given need not be loaded.
    pipe.personalization = None
    assert np.array_equal(pixels(pipe.edit(cast, "mix:bob")[0]), pixels(pipe.edit(cast)[1]))


def test_an_angle_is_measured_on_the_picture(
    pipe: PTIPipeline, photograph: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = pipe(photograph).personalization
    monkeypatch.setattr("pti_hub.faces.measures.FaceAnalyzer", lambda: None)
    monkeypatch.setattr(
        "pti_hub.pipelines.rendering.measure",
        lambda generator, weights, ws, direction, measure, strength: 3.0 + 8.0 * strength,
    )
    out = pipe(ada, edit=["age", "smile=10deg"])
    age, smile = out.edits[0]
    assert (age.strength, smile.strength) == (1.0, pytest.approx(1.25, abs=0.07))
    same = pipe(ada, edit=[("age", 1.0), ("smile", smile.strength)])
    assert np.array_equal(pixels(out.images[0]), pixels(same.images[0]))


def test_measured_steps_are_solved_for_once(
    pipe: PTIPipeline, photograph: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = pipe(photograph).personalization
    looks = []

    def measure(generator: object, weights: object, ws: object, direction: object, number: object, s: float) -> float:
        looks.append(s)
        return 0.8 + 0.1 * s

    monkeypatch.setattr("pti_hub.faces.measures.FaceAnalyzer", lambda: None)
    monkeypatch.setattr("pti_hub.pipelines.rendering.measure", measure)
    pipe.edits["smile"] = dataclasses.replace(pipe.edits["smile"], step=Step(MEASURES["mouth_width"], 0.15))
    out = pipe(ada, edit="smile")
    assert [edit.strength for edit in out.edits[0]] == [pytest.approx(1.5)]
    assert np.array_equal(
        pixels(out.images[0]), pixels(pipe.edit(ada, ("smile", f"raw:{out.edits[0][0].strength}"))[0])
    )
    # 0, 0.5, 1 and 1.5 were looked at, and need not be again.
    pictures = pipe.walk(ada, "smile", [0, 1])
    assert looks == [0.0, 0.5, 1.0, 1.5]
    assert np.array_equal(pixels(pictures[0]), pixels(pipe.edit(ada)[0]))
    assert np.array_equal(pixels(pictures[1]), pixels(out.images[0]))
    # After another edit the face is another one, whether that moved the latent or a style.
    pipe.edit(ada, ["age", "smile"])
    assert len(looks) == 8
    for _ in range(2):
        pipe.edit(ada, ["s:0_1=2", "smile"])
        assert len(looks) == 12
    pipe.edit(ada, ["s:0_1=3", "smile"])
    assert len(looks) == 16


def test_a_face_that_cannot_be_measured_takes_the_plain_vector(
    pipe: PTIPipeline, photograph: Tensor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pti_hub.faces.measures.FaceAnalyzer", lambda: SimpleNamespace(detect=lambda image: []))
    pipe.edits["smile"] = dataclasses.replace(pipe.edits["smile"], step=Step(MEASURES["mouth_width"], 0.15))
    ada = pipe(photograph).personalization
    with caplog.at_level(logging.WARNING, "pti_hub"):
        picture = pipe.edit(ada, "smile=2")[0]
    assert "no face is left to measure 'smile' on, so it takes its plain vector" in caplog.text
    assert np.array_equal(pixels(picture), pixels(pipe.edit(ada, "smile=raw:2")[0]))


def test_without_dlib_steps_are_plain_vectors(
    pipe: PTIPipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    pipe.edits["smile"] = dataclasses.replace(pipe.edits["smile"], step=Step(MEASURES["mouth_width"], 0.15))
    with caplog.at_level(logging.WARNING, "pti_hub"):
        assert pipe.parse("smile=2") == [Edit(pipe.edits["smile"], 2.0)]
    assert "'smile' takes its plain vector, unmeasured: " in caplog.text


def test_an_attribute_is_measured_on_a_small_picture_and_without_dlib(
    pipe: PTIPipeline, photograph: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    seen: list[float] = []
    lighter = Measure("lightness", "lightness", "", 0.01, lambda picture, _: seen.append(picture.width) or 0.0)  # type: ignore[func-returns-value]
    lighter = dataclasses.replace(lighter, resolution=32)
    pipe.edits["smile"] = dataclasses.replace(pipe.edits["smile"], step=Step(lighter, 5.0))
    pipe(photograph, edit="smile")
    assert set(seen) == {32}


def test_another_network_than_alexnet_reads_no_attributes(pipe: PTIPipeline, caplog: pytest.LogCaptureFixture) -> None:
    pipe.edits["age"] = dataclasses.replace(pipe.edits["age"], step=Step(MEASURES["age"], 15.0))
    assert pipe.parse("age") == [MeasuredEdit(pipe.edits["age"])]
    pipe.perceptual = LPIPS("vgg")
    with caplog.at_level(logging.WARNING, "pti_hub"):
        assert pipe.parse("age=2") == [Edit(pipe.edits["age"], 2.0)]
    assert "'age' takes its plain vector, unmeasured: attributes are read off LPIPS with AlexNet" in caplog.text


def test_a_walk(pipe: PTIPipeline, photograph: Tensor) -> None:
    pipe.load_personalization(pipe.personalize({"ada": photograph, "bob": photograph.flip(2)}))
    pictures = pipe.walk("ada", "smile", [-1, 0, 2])
    expected = [pipe.edit("ada", ("smile", strength))[0] for strength in (-1, 0, 2)]
    assert [pixels(p).tolist() for p in pictures] == [pixels(p).tolist() for p in expected]
    twice = pipe.walk("ada", ("smile", 2.0), [1])
    assert np.array_equal(pixels(twice[0]), pixels(pictures[2]))
    assert pipe.personalization is not None
    for identity, direction in (("eve", "smile"), (pipe.personalization, "smile"), ("ada", "smile=5deg")):
        with pytest.raises(InputError, match=r"eve|expected one identity and one direction"):
            pipe.walk(identity, direction)


def test_styles_are_edited_like_anything_else(
    pipe: PTIPipeline, photograph: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = pipe(photograph, edit=["s:3_5=9", "smile", "s:3_5=-4"])
    ada = out.personalization
    assert np.array_equal(pixels(out.images[0]), pixels(pipe.edit(ada, ["smile", "s:3_5=5"])[0]))
    still, moved = pipe.walk(ada, "s:3_5=9", [0, 1])
    assert still == out.reconstruction[0]
    assert moved == pipe.edit(ada, "s:3_5=9")[0] != still
    # Only the picture is edited; what was learned stays.
    assert pipe(ada).images[0] == out.reconstruction[0]
    with pytest.raises(InputError, match=r"changes blocks.9.up.bias\[0\]"):
        pipe.parse(StyleEdit("s:28_0", "blocks.9.up.bias", 0, 1.0))

    def measure(generator: object, weights: Any, ws: object, direction: object, number: object, s: float) -> float:
        looks.append(dict(weights)["blocks.0.conv2.modulation.bias"][5].item())
        return 0.8 + 0.1 * s

    # What follows is measured on the edited picture, and not confused with what was measured before.
    looks: list[float] = []
    monkeypatch.setattr("pti_hub.faces.measures.FaceAnalyzer", lambda: None)
    monkeypatch.setattr("pti_hub.pipelines.rendering.measure", measure)
    pipe.edits["smile"] = dataclasses.replace(pipe.edits["smile"], step=Step(MEASURES["mouth_width"], 0.15))
    for edit in ("smile", ["s:3_5=9", "smile"], "smile"):
        pipe.edit(ada, edit)
    assert len(looks) == 8
    assert len(set(looks[:4])) == len(set(looks[4:])) == 1
    assert looks[4] > looks[0]


def test_where_the_pivot_lies_is_reported(pipe: PTIPipeline, photograph: Tensor) -> None:
    pipe.projector = MeanProjector()
    metrics = pipe(photograph).metrics[0]
    assert metrics["w_distance"] == metrics["truncation"] == metrics["s_distance"] == 0.0
    pipe.projector = RandomProjector()
    metrics = pipe(photograph).metrics[0]
    pivot = RandomProjector().project(pipe.generator, pipe.perceptual, photograph[None]).pivot[0]
    assert metrics["w_distance"] == pytest.approx((pivot - pipe.generator.w_avg).norm().item(), rel=1e-5)
    assert metrics["truncation"] == pytest.approx(metrics["w_distance"] / pipe.generator.w_std.item(), rel=1e-5)


def test_an_encoder_gives_the_pivot(pipe: PTIPipeline, photograph: Tensor, tmp_path: Path) -> None:
    class Mean(torch.nn.Module):
        resolution = 16

        def forward(self, images: Tensor) -> Tensor:
            assert images.shape == (1, 3, 16, 16)
            return images.mean((2, 3)).repeat(1, 6)[:, :width]

    width = 16
    pipe.projector = EncoderProjector(Mean())
    ada = pipe.personalize(photograph)
    expected = torch.nn.functional.avg_pool2d(photograph[None], 4).mean((2, 3)).repeat(1, 6)[:, :16]
    torch.testing.assert_close(ada.pivots["subject"], expected[0], rtol=0, atol=0.01)
    with pytest.raises(InputError, match="encoder Mean can't be saved, only LightEncoder, StyleEncoder"):
        pipe.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    width = 15
    with pytest.raises(InputError, match="the encoder Mean is of another generator"):
        pipe.personalize(photograph)


def test_invert_gives_the_pivot_of_a_call(pipe: PTIPipeline, photograph: Tensor) -> None:
    assert torch.equal(
        pipe.invert(photograph, seed=4).pivot[0], pipe(photograph, seed=4).personalization.pivots["subject"]
    )


def test_the_callback_sees_every_step(pipe: PTIPipeline, photograph: Tensor) -> None:
    seen: list[tuple[int, str]] = []
    pictures: list[Tensor] = []

    def on_step(step: int, metrics: dict[str, Any]) -> None:
        assert isinstance(metrics["lpips"], float)
        assert metrics["picture"].shape == photograph[None].shape
        assert not metrics["picture"].requires_grad
        pictures.append(metrics["picture"].clone())
        seen.append((step, metrics["stage"]))

    pipe(photograph, callback_on_step_end=on_step)
    assert seen == [(i, "project") for i in range(4)] + [(4 + i, "tune") for i in range(6)]
    assert not any(torch.equal(one, next_one) for one, next_one in itertools.pairwise(pictures))
    assert (pictures[-1] - photograph).square().mean() < (pictures[0] - photograph).square().mean()


def test_progress_bars_can_be_silenced(pipe: PTIPipeline, photograph: Tensor, capfd: Any) -> None:
    pipe(photograph)
    assert capfd.readouterr().err == ""
    pipe.set_progress_bar_config(disable=False)
    pipe(photograph)
    err = capfd.readouterr().err
    assert "project" in err
    assert "tune" in err


def test_a_mapper_is_an_edit_like_others(pipe: PTIPipeline, photograph: Tensor) -> None:
    torch.manual_seed(0)
    mapper = LatentMapper(["all"], w_dim=16, depth=2)
    out = pipe(photograph, edit=[mapper, "smile"])
    assert isinstance(out.edits[0][0], MapperEdit)
    assert out.images[0] != out.reconstruction[0]
    person = out.personalization
    still = pipe.walk(person, mapper, [0.0, 1.0])
    assert still[0] == out.reconstruction[0]
    assert still[1] != still[0]


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Grows by an entry with each time that the generator is run."""
    made: list[torch.Size] = []
    synthesis = MobileStyleGAN.synthesis

    def counted(generator: MobileStyleGAN, ws: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        made.append(ws.shape)
        return synthesis(generator, ws, *args, **kwargs)

    for name in ("synthesis", "forward"):
        monkeypatch.setattr(MobileStyleGAN, name, counted)
    return made


def test_an_edit_renders_one_picture_an_identity_and_a_call_two(
    pipe: PTIPipeline, photograph: Tensor, rendered: list[torch.Size]
) -> None:
    cast = pipe.personalize({"ada": photograph, "bob": photograph.flip(2)})
    pipe.load_personalization(cast)
    # A call gives the reconstruction too, which is the picture where there is no edit.
    for call, count in (
        (lambda: pipe.edit(cast, ["smile", ("age", -1.0)]), 2),
        (lambda: pipe.edit("bob", "smile"), 1),
        (lambda: pipe.edit("bob"), 1),
        (lambda: pipe("bob", edit="smile"), 2),
        (lambda: pipe("bob"), 1),
        (lambda: pipe(cast, edit="smile"), 4),
        (lambda: pipe.walk("bob", "smile", [-1, 0, 1]), 3),
    ):
        rendered.clear()
        call()
        assert rendered == [torch.Size([1, 8, 16])] * count
