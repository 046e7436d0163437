"""A saved pipeline: a plain folder, whole or as it was."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.networks import tiny_encoder
from support.pictures import pixels
from support.types import RenderElsewhere

from pti_hub import InputError, PTIPipeline, WProjector
from pti_hub.projectors import EncoderProjector, EncoderProjectorConfig


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


@pytest.mark.parametrize("space", ["w", "w+"])
def test_it_is_saved_with_the_pipeline(pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path, space: str) -> None:
    config = EncoderProjectorConfig(refine_steps=2, resolution=64)
    pipe.projector = EncoderProjector(tiny_encoder(space, num_axes=8), config)
    pipe.save_pretrained(tmp_path / "saved")
    loaded = PTIPipeline.from_pretrained(tmp_path / "saved", device="cpu")
    assert isinstance(loaded.projector, EncoderProjector)
    assert loaded.projector.config == config
    assert torch.equal(loaded.invert(photograph).pivot, pipe.invert(photograph).pivot)


def test_an_encoder_that_waits_is_saved_too(pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path) -> None:
    pipe.encoder = tiny_encoder()
    pipe.save_pretrained(tmp_path / "saved")
    loaded = PTIPipeline.from_pretrained(tmp_path / "saved", device="cpu")
    assert isinstance(loaded.projector, WProjector)
    loaded.projector = "auto"
    assert isinstance(loaded.projector, EncoderProjector)
