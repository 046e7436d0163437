"""The command line, as a user types it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from support.foreign_files import write_nvidia
from support.golden import golden
from support.hub_server import HubServer, files_of
from support.pictures import same
from typer.testing import CliRunner

from pti_hub import Personalization, PTIPipeline, WeightsError
from pti_hub.cli import main
from pti_hub.cli.commands import app
from pti_hub.cli.editing import _edited_name
from pti_hub.encoders import LightEncoder
from pti_hub.images import load_image, to_pil
from pti_hub.pipelines.inversion import project


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
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"photo", "photo_smile_age-3.png"}
    assert {path.name for path in (tmp_path / "out" / "photo" / "0").iterdir()} == {
        *("aligned.png", "projection.png", "reconstruction.png", "edited.png", "personalization", "run.json"),
    }
    assert "lpips" in capsys.readouterr().out

    person = tmp_path / "out" / "photo" / "0" / "personalization"
    assert run(monkeypatch, "edit", person, *options, "--photograph", photo, "--out", tmp_path / "again") == 0
    for ours, theirs in (("photo/0/edited.png", "edited.png"), ("photo_smile_age-3.png",) * 2):
        assert same(load_image(tmp_path / "out" / ours), load_image(tmp_path / "again" / theirs))


def test_the_next_edit_of_a_photograph_does_not_tune_again(
    folder: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["-m", folder, "--out", tmp_path / "out"]
    assert run(monkeypatch, "edit", photo, "-e", "smile", *options) == 0
    monkeypatch.setattr("pti_hub.pipelines.inversion.project", lambda *args: pytest.fail("it is projected again"))
    assert run(monkeypatch, "edit", photo, "-e", "age=2", *options) == 0
    assert run(monkeypatch, "edit", photo, "-e", "age=2", "--face", "0", *options) == 0
    assert run(monkeypatch, "edit", photo, "-e", "smile=raw:-1", *options) == 0
    names = {"photo_smile.png", "photo_age2.png", "photo_0_age2.png", "photo_smileraw-1.png"}
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == names


def test_a_long_name_is_cut_and_the_photograph_is_never_overwritten(
    folder: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = photo.rename(tmp_path / f"{'a' * 220}.png")
    for edit in ("smile", "age"):
        assert run(monkeypatch, "edit", long, "-e", edit, "-m", folder, "--out", tmp_path) == 0
    assert len({path.name for path in tmp_path.glob("a*.png")}) == 3
    before = long.read_bytes()
    assert run(monkeypatch, "edit", long, "-m", folder, "--out", tmp_path) == 0 or before == long.read_bytes()
    assert before == long.read_bytes()


def test_another_photograph_of_the_same_name_spoils_nothing(
    folder: Path,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "edit", photo, "-e", "smile", "-m", folder, "--out", tmp_path / "out") == 0
    before = (tmp_path / "out" / "photo_smile.png").read_bytes()
    load_image(photo).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photo)
    assert run(monkeypatch, "edit", photo, "-e", "smile", "-m", folder, "--out", tmp_path / "out") == 1
    assert "holds a run with another photographs; give another folder" in capsys.readouterr().err
    assert (tmp_path / "out" / "photo_smile.png").read_bytes() == before


def test_a_folder_of_photographs_is_edited_and_a_failure_is_no_end(
    folder: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("ada.png", "ada.jpg", "bob.webp"):
        load_image(photo).save(photos / name)
    (photos / "broken.jpg").write_bytes(photo.read_bytes()[:200])
    (photos / "notes.txt").write_text("not a picture")
    (photos / "._ada.jpg").write_bytes(b"what macOS leaves there")
    (photos / "more.jpg").mkdir()
    command = ["edit", photos, "-e", "smile", "-m", folder, "--out", tmp_path / "out"]
    assert run(monkeypatch, *command) == 1
    err = capsys.readouterr().err
    assert "broken.jpg' is damaged" in err
    assert f"1 of 4 photographs failed, see above; the others are in {tmp_path / 'out'}/" in err
    edited = {"ada_smile.png", "ada_smile.jpg", "bob_smile.webp"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*edited, "ada.png", "ada.jpg", "bob"}

    # The same command again does only what is missing.
    load_image(photo).save(photos / "broken.jpg")
    tuned = []
    monkeypatch.setattr("pti_hub.pipelines.inversion.project", lambda *args: tuned.append(args) or project(*args))
    assert run(monkeypatch, *command) == 0
    assert len(tuned) == 1


def test_a_folder_that_can_not_be_edited_is_one_line(
    folder: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run(monkeypatch, "edit", tmp_path / "empty", "-m", folder, "--out", tmp_path / "out") == 1
    assert "holds no personalisation and no picture; expected files that end in .bmp" in capsys.readouterr().err
    assert run(monkeypatch, "edit", photo.parent, "-m", folder, "--out", photo.parent) == 1
    assert "is the folder of the photographs; give another one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--face", "left"], "--face left; expected the number of a face, numbers such as 0,2, or all"),
        (["-e", "0:smile", "-e", "age"], "--edit age is for no face and others are"),
        (["-e", "0:frown"], "no edit is named 'frown'"),
        (["-e", "3:smile"], "there is an edit for [3], but the faces are [0"),
        (["--photograph", "group.jpg"], "--photograph is for personalisations"),
    ],
)
def test_faces_that_can_not_be_meant_are_one_line(
    folder: Path,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    assert run(monkeypatch, "edit", photo, *options, "-m", folder, "--out", tmp_path / "out") == 1
    err = capsys.readouterr().err.strip()
    assert message in err
    assert "\n" not in err
    assert not (tmp_path / "out").exists()


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
    monkeypatch.setattr("pti_hub.faces.measures.FaceAnalyzer", lambda: None)
    monkeypatch.setattr("pti_hub.pipelines.rendering.measure", lambda *args: 0.0)
    assert run(monkeypatch, "edit", photo, "--edit", "smile=60deg", "-m", folder, "--out", tmp_path / "out") == 1
    assert "comes no nearer" in capsys.readouterr().err
    assert list(Personalization.from_pretrained(tmp_path / "out" / "photo" / "0" / "personalization").pivots) == [
        "subject"
    ]


def test_an_angle_without_dlib_is_one_line_before_the_long_work(
    folder: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # An import of dlib fails, as where it is not installed.
    monkeypatch.setitem(sys.modules, "dlib", None)
    monkeypatch.setattr("pti_hub.pipelines.inversion.project", lambda *args: pytest.fail("the long work began"))
    assert run(monkeypatch, "edit", photo, "-e", "smile=5deg", "-m", folder, "--out", tmp_path / "out") == 1
    err = capsys.readouterr().err.strip()
    assert err.startswith("error: ")
    assert "pip install 'pti-hub[faces]'" in err
    assert "\n" not in err
    assert not (tmp_path / "out").exists()


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
    assert "end it in .png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp, .heic, .heif, .gif, .mp4" in capsys.readouterr().err


def test_folders_without_pictures(
    folder: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for photos, message in ((tmp_path / "empty", "no picture is in"), (photo, "is no folder")):
        assert run(monkeypatch, "personalize", photos, "-m", folder, "--out", tmp_path / "out") == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_push_pull_and_list(hub: HubServer, pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments))

    pipe.save_pretrained(tmp_path / "base")
    pushed = run("push", str(tmp_path / "base"), "me/base")
    assert "published, private" in pushed.output
    base = PTIPipeline.from_pretrained("me/base")
    base(photograph).personalization.save_pretrained(tmp_path / "ada")
    Image.new("RGB", (8, 8)).save(shown := tmp_path / "smile=1.png")
    assert "published: " in run("push", str(tmp_path / "ada"), "me/ada", "--no-private", "--preview", str(shown)).output
    assert 'src="gallery/0.jpg" alt="smile=1"' in files_of(hub, "me/ada")["README.md"].decode()
    listed = run("list", "me/ada").output
    for fact in ("me/base", "deltas     compact", "subject", "lpips", "edits      the base's"):
        assert fact in listed
    assert "edits      smile, age" in run("list", "me/base").output
    hub.requests.clear()
    assert run("list", "me/ada").exit_code == 0
    assert not any("safetensors" in line for line in hub.requests)
    twice = run("push", str(tmp_path / "ada"), "me/ada", "--preview", str(shown), "--preview", "other/smile=1.jpg")
    assert "two pictures are called 'smile=1'" in str(twice.exception)
    assert f"saved in {tmp_path}/pulled/" in run("pull", "me/ada", str(tmp_path / "pulled")).output
    assert Personalization.from_pretrained(tmp_path / "pulled").base.repo == "me/base"
    hub.add("me/other", {"config.json": b"{}"})
    for verb in (["list"], ["pull"]):
        failed = run(*verb, "me/other")
        assert isinstance(failed.exception, WeightsError)
        assert "me/other is neither a pipeline nor a personalisation" in str(failed.exception)


def test_convert_and_export(tmp_path: Path) -> None:
    write_nvidia(tmp_path / "ffhq.pkl", "skip")
    run = CliRunner().invoke(app, ["convert", str(tmp_path / "ffhq.pkl"), str(tmp_path / "pipe"), "--no-faces"])
    assert run.exit_code == 0, run.output
    assert "StyleGAN2, 16² px, 6 ws; saved in" in run.output
    assert not PTIPipeline.from_pretrained(tmp_path / "pipe").aligns_faces
    (tmp_path / "embeddings" / "ada").mkdir(parents=True)
    torch.save(golden("skip")["w"][:1, None].repeat(1, 6, 1), tmp_path / "embeddings" / "ada" / "0.pt")
    write_nvidia(tmp_path / "model.pt", "skip", alone=True)
    pivot = str(tmp_path / "embeddings" / "ada" / "0.pt")
    arguments = ["convert", str(tmp_path / "model.pt"), str(tmp_path / "ada"), "--base", str(tmp_path / "pipe")]
    run = CliRunner().invoke(app, [*arguments, "--pivot", pivot])
    assert run.exit_code == 0, run.output
    assert list(Personalization.from_pretrained(tmp_path / "ada").pivots) == ["ada"]
    run = CliRunner().invoke(app, ["export", str(tmp_path / "pipe"), str(tmp_path / "g.safetensors")])
    assert run.exit_code == 0, run.output
    assert (tmp_path / "g.safetensors").is_file()


def test_two_faces_of_one_photograph_have_files_of_their_own(
    folder: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = PTIPipeline.from_pretrained(folder, device="cpu")
    pipe.personalize({"ada": photo, "bob": photo}).save_pretrained(tmp_path / "cast")
    arguments = ["edit", tmp_path / "cast", "--photograph", photo, "-m", folder, "--edit", "smile=4"]
    assert run(monkeypatch, *arguments, "--out", tmp_path / "out") == 0
    names = {f"{what}_{i}.png" for what in ("edited", "reconstruction") for i in range(2)}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"photo_smile4.png", *names}


def test_learn_an_edit_and_use_it(
    pipe: PTIPipeline,
    photograph: torch.Tensor,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pipe.encoder = LightEncoder(16, 8, "w", 64).eval()
    pipe.save_pretrained(tmp_path / "model")
    for k, name in enumerate(("plain", "with")):
        (tmp_path / name).mkdir()
        for i in range(4):
            to_pil((photograph + 0.1 * i - 0.3 * k)[None])[0].save(tmp_path / name / f"{i}.png")
    groups = ["--with", tmp_path / "with", "--without", tmp_path / "plain", "-m", tmp_path / "model"]
    assert run(monkeypatch, "learn-edit", "dark", tmp_path / "mine", *groups) == 0
    assert run(monkeypatch, "learn-edit", "darker", tmp_path / "mine", *groups) == 0
    assert "mean difference of 4 examples with and 4 without" in capsys.readouterr().out
    options = ["--edits", tmp_path / "mine", "-e", "darker=2", "-m", tmp_path / "model", "--out", tmp_path / "out"]
    assert run(monkeypatch, "edit", photo, *options) == 0
    assert (tmp_path / "out" / "photo_darker2.png").exists()


@pytest.mark.parametrize(
    "options", [[], ["--with", "a"], ["--without", "a"], ["--words", "a hat", "--with", "a", "--without", "b"]]
)
def test_an_edit_is_learned_from_one_thing(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "learn-edit", "x", tmp_path / "mine", *options) == 1
    assert "give --with FOLDER and --without FOLDER, or --words" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "a=b", "mix:bob"])
def test_a_name_that_no_edit_can_have(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "learn-edit", name, tmp_path / "mine", "--words", "a hat") == 1
    assert "expected a name such as glasses" in capsys.readouterr().err


def test_the_name_of_a_picture_tells_its_edits_apart() -> None:
    edits = ("pc3=2", "pc32", "s:9_77=4", "s:9_774", "age=-2", "smile=raw:1")
    names = [_edited_name(Path("photo.jpg"), [edit]) for edit in edits]
    assert names == [f"photo_{n}.jpg" for n in ("pc3_2", "pc32", "s-9_77_4", "s-9_774", "age-2", "smileraw1")]
