"""learn-edit from words by optimisation, as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from support.commands import run
from support.text_models import save_clip

from pti_hub import Personalization, PTIPipeline
from pti_hub.edits import Direction, LatentMapper, load_edits


@pytest.fixture
def options(pipe: PTIPipeline, ada: Personalization, tmp_path: Path) -> list[object]:
    """A pipeline, its text model and what was learned of a person, all in folders."""
    pipe.save_pretrained(tmp_path / "model")
    ada.save_pretrained(tmp_path / "ada")
    return ["--text-model", save_clip(tmp_path / "clip"), "-m", tmp_path / "model"]


def test_words_are_optimised_on_a_person(
    options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, optimize = tmp_path / "mine", ["--words", "a beard", "--optimize", tmp_path / "ada", "--steps", "6"]
    assert run(monkeypatch, "learn-edit", "beard", mine, *optimize, *options) == 0
    assert "6 steps to 'a beard'" in (shown := capsys.readouterr().out)
    assert "similarity_after" in shown
    assert run(monkeypatch, "learn-edit", "beards", mine, *optimize, "--per-layer", *options) == 0
    kept = load_edits(mine)
    assert [edit.space for edit in kept.values()] == ["W", "W+"]
    edit = ["edit", tmp_path / "ada", "--edits", mine, "-e", "beard=2", "-e", "beards", "-m", tmp_path / "model"]
    assert run(monkeypatch, *edit, "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "edited.png").exists()


def test_a_mapper_is_trained_and_used(
    options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, optimize = tmp_path / "mine", ["--words", "a beard", "--optimize", tmp_path / "ada", "--steps", "4"]
    assert run(monkeypatch, "learn-edit", "own", mine, *optimize, *options) == 0
    train = ["--words", "a beard", "--mapper", "--steps", "6", "--run", tmp_path / "state"]
    assert run(monkeypatch, "learn-edit", "beard", mine, *train, *options) == 0
    assert "raised" in capsys.readouterr().out
    # The mapper is saved, so its state can go.
    assert not any((tmp_path / "state").iterdir())
    kept = load_edits(mine)
    assert [type(edit) for edit in kept.values()] == [Direction, LatentMapper]
    assert torch.equal(
        next(LatentMapper.from_pretrained(mine / "beard").parameters()),
        next(kept["beard"].parameters()),  # type: ignore[union-attr]
    )
    # What is added later leaves the mapper where it is.
    assert run(monkeypatch, "learn-edit", "more", mine, *optimize, *options) == 0
    assert list(load_edits(mine)) == ["own", "beard", "more"]
    edit = ["edit", tmp_path / "ada", "--edits", mine, "-e", "beard=0.5", "-e", "own", "-m", tmp_path / "model"]
    assert run(monkeypatch, *edit, "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "edited.png").exists()


WORDS = ("--words", "a hat")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--with", "a", "--without", "b", "--mapper"], "goes with --words"),
        ([*WORDS, "--mapper", "--optimize", "x"], "one of them, goes with --words"),
        ([*WORDS, "--per-layer"], "--per-layer goes with --optimize"),
        ([*WORDS, "--mapper", "--per-layer"], "--per-layer goes with --optimize"),
        ([*WORDS, "--steps", "5"], "--steps goes with --optimize PERSON or --mapper"),
        ([*WORDS, "--optimize", "x", "--run", "y"], "--run goes with --mapper"),
        ([*WORDS, "--mapper", "--steps", "0"], "num_steps=0; expected"),
        ([*WORDS, "--optimize", "no/such/folder"], "no/such/folder"),
        (["--words", " ", "--mapper"], "--words is empty"),
    ],
)
def test_options_that_do_not_go_together(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(PTIPipeline, "from_pretrained", lambda *args, **options: pytest.fail("the long work began"))
    assert run(monkeypatch, "learn-edit", "x", tmp_path / "mine", *arguments) == 1
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1


def test_a_mapper_needs_a_name_that_a_folder_can_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "learn-edit", "../up", tmp_path / "mine", *WORDS, "--mapper") == 1
    assert "expected a name that a folder can have" in capsys.readouterr().err
