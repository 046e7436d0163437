"""The command line, as a user types it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pti_hub import Personalization, PTIPipeline
from pti_hub.cli import main
from pti_hub.encoders import LightEncoder
from pti_hub.images import to_pil


@pytest.fixture
def folder(pipe: PTIPipeline, tmp_path: Path) -> Path:
    pipe.save_pretrained(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.fixture
def photo(photograph: torch.Tensor, tmp_path: Path) -> Path:
    to_pil(photograph[None])[0].save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["pti-hub", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def test_edit_writes_pictures_and_a_personalization(
    folder: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--edit", "smile", "--edit", "age=-3", "-m", folder]
    assert run(monkeypatch, "edit", photo, *options, "--out", tmp_path / "out") == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"aligned.png", "projection.png", "reconstruction.png", "edited.png", "personalization"}
    assert "lpips" in capsys.readouterr().out

    again = ["edit", tmp_path / "out" / "personalization", *options, "--out", tmp_path / "again"]
    assert run(monkeypatch, *again) == 0
    pictures = [np.asarray(Image.open(tmp_path / where / "edited.png")) for where in ("out", "again")]
    assert np.array_equal(*pictures)


def test_info_names_everything(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "info", folder) == 0
    out = capsys.readouterr().out
    for word in ("MobileStyleGAN", "64²", "smile", "age", "identities none", "WProjectorConfig"):
        assert word in out


def test_info_names_the_encoder(
    pipe: PTIPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe.encoder = LightEncoder(16, 8, resolution=64)
    pipe.save_pretrained(tmp_path / "saved")
    assert run(monkeypatch, "info", tmp_path / "saved") == 0
    assert "encoder    LightEncoder, 64² px" in capsys.readouterr().out


@pytest.mark.parametrize(("edit", "message"), [("frown", "frown"), ("smile=much", "much"), ("smile=nan", "nan")])
def test_errors_are_one_line(
    folder: Path,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    edit: str,
    message: str,
) -> None:
    assert run(monkeypatch, "edit", photo, "--edit", edit, "-m", folder, "--out", tmp_path / "out") == 1
    err = capsys.readouterr().err.strip()
    assert err.startswith("error: ")
    assert message in err
    assert "\n" not in err
    assert not (tmp_path / "out").exists()


def test_a_missing_photograph_writes_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "edit", tmp_path / "no.jpg", "-m", folder, "--out", tmp_path / "out") == 1
    assert "no.jpg" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_took_minutes_outlives_an_edit_that_fails(
    folder: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pti_hub.pipelines.components.FaceAnalyzer", lambda: None)
    monkeypatch.setattr("pti_hub.pipelines.rendering.measure_yaw", lambda *args: 0.0)
    assert run(monkeypatch, "edit", photo, "--edit", "smile=60deg", "-m", folder, "--out", tmp_path / "out") == 1
    assert "comes no nearer" in capsys.readouterr().err
    assert list(Personalization.from_pretrained(tmp_path / "out" / "personalization").pivots) == ["subject"]


@pytest.fixture
def people(photograph: torch.Tensor, tmp_path: Path) -> Path:
    """Three photographs of two people."""
    (tmp_path / "people" / "bob").mkdir(parents=True)
    for name, picture in (
        ("ada.png", photograph),
        ("bob/1.png", photograph.flip(1)),
        ("bob/2.png", photograph.flip(2)),
    ):
        to_pil(picture[None])[0].save(tmp_path / "people" / name)
    (tmp_path / "people" / "notes.txt").write_text("not a picture")
    return tmp_path / "people"


def test_personalize_then_walk(
    folder: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cast, model = tmp_path / "cast", ["-m", folder]
    assert run(monkeypatch, "personalize", people, *model, "--out", cast, "--run", tmp_path / "run") == 0
    out = capsys.readouterr().out
    assert all(f"{name}: lpips" in out for name in ("ada", "bob/1", "bob/2"))
    assert list(Personalization.from_pretrained(cast).pivots) == ["ada", "bob/1", "bob/2"]

    mix = ["edit", cast, *model, "--edit", "mix:bob_layers2-5", "--out", tmp_path / "mixed"]
    assert run(monkeypatch, *mix) == 0
    assert len(list((tmp_path / "mixed").glob("edited_*.png"))) == 3
    capsys.readouterr()

    walk = ["walk", cast, *model, "--edit", "smile"]
    assert run(monkeypatch, *walk) == 1
    assert "choose one: --identity NAME" in capsys.readouterr().err
    walk += ["--identity", "bob/2"]
    assert run(monkeypatch, *walk, "--out", tmp_path / "walk.png") == 0
    assert Image.open(tmp_path / "walk.png").size == (5 * 256, 256)
    assert run(monkeypatch, *walk, "--frames", 3, "--out", tmp_path / "walk.gif") == 0
    assert Image.open(tmp_path / "walk.gif").n_frames == 4  # type: ignore[attr-defined]
    assert run(monkeypatch, *walk, "--out", tmp_path / "walk.txt") == 1
    assert "end it in .png, .jpg, .jpeg, .gif, .mp4" in capsys.readouterr().err


def test_folders_without_pictures(
    folder: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for photos, message in ((tmp_path / "empty", "no picture is in"), (photo, "is no folder")):
        assert run(monkeypatch, "personalize", photos, "-m", folder, "--out", tmp_path / "out") == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
