"""drag, as a user types it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.commands import run

from pti_hub import Personalization, PTIPipeline
from pti_hub.edits import load_edits
from pti_hub.images import to_pil

POINTS = ["--points", "53.5,77.5>53.5,81.5; 77,53>77,53"]


@pytest.fixture
def job(pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path) -> list[object]:
    """A photograph to drag, a saved pipeline, and where the results go."""
    to_pil(photograph[None])[0].resize((128, 128), Image.Resampling.BICUBIC).save(tmp_path / "ada.png")
    pipe.save_pretrained(tmp_path / "model")
    return ["drag", tmp_path / "ada.png", "-m", tmp_path / "model", "--out", tmp_path / "out", "--steps", "3"]


def test_a_photograph_is_dragged_and_the_change_kept(
    job: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *job, *POINTS, "--save", tmp_path / "mine", "--name", "pull") == 0
    shown = capsys.readouterr().out
    assert "(53.5, 77.5) is at (" in shown
    assert "(77, 53) is at (" in shown
    before, after = (np.asarray(Image.open(tmp_path / name)) for name in ("ada.png", "out/ada_pull.png"))
    assert before.shape == after.shape
    assert (before != after).any()
    assert (tmp_path / "out" / "ada" / "0" / "pull.png").is_file()
    assert list(load_edits(tmp_path / "mine")) == ["pull"]
    # What was learned is found again, by this command and by edit.
    assert run(monkeypatch, *job, *POINTS, "--save", tmp_path / "mine", "--name", "push", "-e", "smile") == 0
    assert list(load_edits(tmp_path / "mine")) == ["pull", "push"]
    edit = ["edit", tmp_path / "ada.png", "--face", "0", "--edits", tmp_path / "mine", "-e", "pull", *job[2:6]]
    assert run(monkeypatch, *edit) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "ada_0_pull.png")), after)


def test_a_personalisation_is_dragged(
    job: list[object], ada: Personalization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.save_pretrained(tmp_path / "person")
    job[1] = tmp_path / "person"
    assert run(monkeypatch, *job, "--points", "26,38>30,38") == 0
    assert Image.open(tmp_path / "out" / "drag.png").size == (64, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--points", "5,5-8,8"], "points '5,5-8,8'; expected X,Y>X,Y"),
        (["--points", ""], "points ''; expected X,Y>X,Y"),
        (["--points", "5,5>200,8"], "the point (200, 8) lies outside the face's square"),
        (["--points", "5,5>8,8", "--name", "a=b"], "--name 'a=b'; expected a short word"),
        (["--points", "5,5>8,8", "--photograph", "x.png"], "--photograph is for personalisations"),
        (["--points", "5,5>8,8", "-e", "smlie"], "did you mean 'smile'?"),
        (["--points", "5,5>8,8", "--mask", "nowhere.png"], "nowhere.png"),
    ],
)
def test_bad_input(
    job: list[object],
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *job, *arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_what_is_there_is_not_overwritten(
    job: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = [*job, *POINTS, "--save", tmp_path / "mine", "--name"]
    assert run(monkeypatch, *keep, "pull") == 0
    assert run(monkeypatch, *keep, "pull") == 1
    assert "has an edit 'pull' already" in capsys.readouterr().err
    assert run(monkeypatch, *keep, "edited") == 1


def test_bad_points_and_masks_are_named_before_anything_is_learned(
    job: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (128, 128)).save(tmp_path / "black.png")
    for arguments in (["--mask", tmp_path / "black.png", *POINTS], ["--points", "5,5>5,5"], ["--points", "5,5>500,5"]):
        assert run(monkeypatch, *job, *arguments) == 1
        assert "project" not in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
