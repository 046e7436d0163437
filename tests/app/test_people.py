"""People at the page: saved, loaded, animated, published."""

from __future__ import annotations

import io
import json
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.hub_server import READER, WRITER, HubServer, files_of

from pti_hub import InputError, Personalization, PTIError, PTIPipeline, SaveError, WeightsError
from pti_hub.app import Settings, people
from pti_hub.app.people import animate, archive, load, load_archive, mix, publish, welcome
from pti_hub.app.studio import WHOLE, Studio
from pti_hub.app.visits import Visit
from pti_hub.edits import StyleMix
from pti_hub.generators import broadcast_ws
from pti_hub.personalization import CONFIG_NAME

Fetch = Callable[[Studio, str], bytes]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made: whatever is left there or beside it was not cleaned up."""
    folder = tmp_path / "outer" / "temporary"
    folder.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def saved(studio: Studio, visit: Visit, ada: Personalization, fetch: Fetch, tmp_path: Path) -> Path:
    """The ZIP file of somebody."""
    welcome(studio, visit, ada)
    path = tmp_path / "saved.zip"
    path.write_bytes(fetch(studio, archive(studio, visit, "subject")))
    visit.portraits.clear()
    return path


def packed(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(zipfile.ZipInfo(name), data)
    return content.getvalue()


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def check_equal(a: Personalization, b: Personalization) -> None:
    for mine, yours in ((a.deltas, b.deltas), (a.pivots, b.pivots)):
        assert mine.keys() == yours.keys()
        assert all(torch.equal(mine[name], yours[name]) for name in mine)


def test_a_saved_person_comes_back(studio: Studio, visit: Visit, square: Path, tmp_path: Path, fetch: Fetch) -> None:
    studio.open(visit, square, "my holiday.png")
    list(studio.learn(visit, []))
    content = fetch(studio, archive(studio, visit, WHOLE))
    (tmp_path / "a.zip").write_bytes(content)
    other = studio.visits.of("other")
    (who,) = load_archive(studio, other, tmp_path / "a.zip")
    check_equal(other.portraits[who].personalization, visit.portraits[WHOLE].personalization)
    assert other.portraits[who].personalization.placements == visit.portraits[WHOLE].personalization.placements


def test_the_archive_holds_no_photograph(studio: Studio, visit: Visit, square: Path, fetch: Fetch) -> None:
    studio.open(visit, square, "my holiday.png")
    list(studio.learn(visit, []))
    files = unpacked(fetch(studio, archive(studio, visit, WHOLE)))
    assert set(files) == {CONFIG_NAME, "personalization.safetensors", "README.md"}
    assert visit.photograph is not None
    raw = visit.photograph.native.tobytes()
    assert not any(b"holiday" in data or raw[:64] in data or b"\x89PNG" in data for data in files.values())
    with pytest.raises(InputError, match="nobody is personalised yet"):
        archive(studio, visit, "Face 7")


def test_what_was_unpacked_is_gone(studio: Studio, visit: Visit, saved: Path, temporary: Path, tmp_path: Path) -> None:
    assert load_archive(studio, visit, saved) == ["subject"]
    with pytest.raises(WeightsError):
        load_archive(studio, visit, tmp_path / "none.zip")
    assert list(temporary.iterdir()) == []


def with_declared_size(content: bytes, size: int) -> bytes:
    """The archive, with another size in the entries of its table of contents."""
    data, place = bytearray(content), 0
    while (place := data.find(b"PK\1\2", place)) >= 0:
        data[place + 24 : place + 28] = struct.pack("<I", size)
        place += 4
    return bytes(data)


def with_encrypted_flag(content: bytes) -> bytes:
    data = bytearray(content)
    for mark, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        place = 0
        while (place := data.find(mark, place)) >= 0:
            data[place + offset] |= 1
            place += 4
    return bytes(data)


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "up": lambda good: packed({**unpacked(good), "../up.json": b"{}"}),
    "far up": lambda good: packed({**unpacked(good), "../../../outside.json": b"{}"}),
    "absolute": lambda good: packed({**unpacked(good), "/outside.json": b"{}"}),
    "backslash": lambda good: packed({**unpacked(good), "..\\up.json": b"{}"}),
    "parent": lambda good: packed({**unpacked(good), "..": b"{}"}),
    "folder": lambda good: packed({f"ada/{name}": data for name, data in unpacked(good).items()}),
    "deep": lambda good: packed({**unpacked(good), "ada/more.json": b"{}"}),
    "many": lambda good: packed({**unpacked(good), **{f"{i}.json": b"{}" for i in range(60)}}),
    "large": lambda good: with_declared_size(good, 400_000_000),
    "more than it says": lambda good: with_declared_size(good, 10),
    "nothing": lambda good: packed({}),
    "no config": lambda good: packed({name: data for name, data in unpacked(good).items() if name != CONFIG_NAME}),
    "no weights": lambda good: packed({CONFIG_NAME: unpacked(good)[CONFIG_NAME]}),
    "no JSON": lambda good: packed({**unpacked(good), CONFIG_NAME: b"\xff"}),
    "wrong JSON": lambda good: packed({**unpacked(good), CONFIG_NAME: b"[]"}),
    "wrong weights": lambda good: packed({**unpacked(good), "personalization.safetensors": b"x" * 100}),
    "truncated": lambda good: good[: len(good) // 2],
    "no ZIP": lambda good: b"no ZIP file",
    "empty": lambda good: b"",
    "encrypted": with_encrypted_flag,
}


@pytest.mark.parametrize("kind", list(HOSTILE))
def test_other_archives_are_one_line(
    studio: Studio, visit: Visit, saved: Path, temporary: Path, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(HOSTILE[kind](saved.read_bytes()))
    before = {entry for entry in tmp_path.rglob("*") if tmp_path / "hub" not in entry.parents}
    with pytest.raises(WeightsError) as caught:
        load_archive(studio, visit, path)
    assert "\n" not in str(caught.value)
    assert {entry for entry in tmp_path.rglob("*") if tmp_path / "hub" not in entry.parents} == before
    assert not Path("/outside.json").exists()
    assert visit.portraits == {}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_archives_are_one_line(
    studio: Studio, visit: Visit, saved: Path, tmp_path: Path, changes: list[tuple[float, int]]
) -> None:
    data = bytearray(saved.read_bytes())
    for place, value in changes:
        data[int(place * len(data))] = value
    (tmp_path / "a.zip").write_bytes(data)
    try:
        load_archive(studio, visit, tmp_path / "a.zip")
    except PTIError as error:
        assert "\n" not in str(error)
    visit.portraits.clear()


def test_a_damaged_stream_is_one_line(studio: Studio, visit: Visit, saved: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(saved) as file:
        entry = file.infolist()[0]
    start, good = entry.header_offset + 30 + len(entry.filename), saved.read_bytes()
    (tmp_path / "a.zip").write_bytes(good[:start] + b"\xff" * 20 + good[start + 20 :])
    with pytest.raises(WeightsError, match="is no ZIP file of a personalisation, or is damaged"):
        load_archive(studio, visit, tmp_path / "a.zip")


def test_folders_are_for_local_pages(pipe: PTIPipeline, ada: Personalization, tmp_path: Path) -> None:
    ada.save_pretrained(tmp_path / "ada")
    local, public = Studio(pipe, Settings(is_local=True)), Studio(pipe, Settings(is_local=False))
    visit = local.visits.of("a")
    assert load(local, visit, f"  {tmp_path / 'ada'}\n") == ["subject"]
    check_equal(visit.portraits["subject"].personalization, ada)
    visit = public.visits.of("a")
    for source in (str(tmp_path / "ada"), str(tmp_path / "none"), "./ada", "~/ada", "..", "a/b/c", "\\\\host\\ada"):
        with pytest.raises(InputError, match="is no repository on the Hub; give a name such as me/ada"):
            load(public, visit, source)
    assert visit.portraits == {}


@pytest.mark.parametrize("is_local", [True, False])
@pytest.mark.parametrize("source", ["", "  ", "no-such-name", "a" * 300, "me/ada\0", "me/" + "a" * 300, "é/é"])
def test_sources_that_are_none_are_one_line(pipe: PTIPipeline, source: str, is_local: bool) -> None:
    studio = Studio(pipe, Settings(is_local=is_local))
    with pytest.raises(PTIError) as caught:
        load(studio, studio.visits.of("a"), source)
    assert "\n" not in str(caught.value)


def test_people_are_loaded_from_the_hub(studio: Studio, visit: Visit, ada: Personalization, hub: HubServer) -> None:
    ada.push_to_hub("me/ada", delta="exact", private=False)
    assert load(studio, visit, " me/ada ") == ["subject"]
    check_equal(visit.portraits["subject"].personalization, ada)
    with pytest.raises(WeightsError, match="the Hub has none of this name that you may see"):
        load(studio, visit, "me/nobody")


def test_the_servers_own_token_is_not_for_visitors(pipe: PTIPipeline, ada: Personalization, hub: HubServer) -> None:
    ada.push_to_hub("me/secret")
    local, public = Studio(pipe, Settings(is_local=True)), Studio(pipe, Settings(is_local=False))
    with pytest.raises(WeightsError):
        load(public, public.visits.of("a"), "me/secret")
    assert load(local, local.visits.of("a"), "me/secret") == ["subject"]


def test_people_of_another_generator_are_refused(studio: Studio, visit: Visit, saved: Path, tmp_path: Path) -> None:
    files = unpacked(saved.read_bytes())
    config = json.loads(files[CONFIG_NAME])
    config["base"]["fingerprint"] = "0" * len(config["base"]["fingerprint"])
    (tmp_path / "a.zip").write_bytes(packed({**files, CONFIG_NAME: json.dumps(config).encode()}))
    with pytest.raises(InputError, match="this personalisation was tuned on 'tiny'"):
        load_archive(studio, visit, tmp_path / "a.zip")
    assert visit.portraits == {}


def test_equal_names_get_a_number(studio: Studio, visit: Visit, ada: Personalization) -> None:
    two = Personalization(ada.deltas, {"subject": ada.pivots["subject"], "bob": ada.pivots["subject"]}, ada.base)
    assert welcome(studio, visit, ada) == ["subject"]
    assert welcome(studio, visit, two) == ["subject (2)", "bob"]
    assert welcome(studio, visit, ada) == ["subject (3)"]
    assert visit.lines == {"subject": [], "subject (2)": [], "bob": [], "subject (3)": []}
    assert visit.portraits["subject (2)"].name == "subject"


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_walk_there_and_back(
    studio: Studio,
    visit: Visit,
    ada: Personalization,
    tmp_path: Path,
    fetch: Fetch,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
) -> None:
    av = pytest.importorskip("av")
    monkeypatch.setattr(people, "_has_video", lambda: suffix == ".mp4")
    welcome(studio, visit, ada)
    visit.lines["subject"] = ["age=1", "smile=0.5"]
    address, media_type = animate(studio, visit, "subject", "smile", 3.0)
    content = fetch(studio, address)
    if suffix == ".mp4":
        with av.open(io.BytesIO(content)) as container:
            frames = [frame.to_image() for frame in container.decode(video=0)]
    else:
        image = Image.open(io.BytesIO(content))
        frames = []
        for i in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(i)
            frames.append(image.convert("RGB"))
    assert (media_type, len(frames)) == ({".mp4": "video/mp4", ".gif": "image/gif"}[suffix], 9 + 7)
    assert {frame.size for frame in frames} == {(64, 64)}
    assert visit.lines == {"subject": ["age=1", "smile=0.5"]}


def test_walks_that_are_none(studio: Studio, visit: Visit, ada: Personalization) -> None:
    with pytest.raises(InputError, match="nobody is personalised yet"):
        animate(studio, visit, "subject", "smile", 1.0)
    welcome(studio, visit, ada)
    with pytest.raises(InputError, match="no edit is named 'frown'"):
        animate(studio, visit, "subject", "frown", 1.0)
    assert len(studio.pictures) == 0


def test_publishing_is_private(
    studio: Studio, visit: Visit, ada: Personalization, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    welcome(studio, visit, ada)
    address = publish(visit, "subject", " me/ada ", f" {WRITER}\n", True)
    assert address.startswith(f"{hub.url}/me/ada/commit/")
    assert hub.repositories["me/ada"].private
    assert set(files_of(hub, "me/ada")) == {CONFIG_NAME, "personalization.safetensors", "README.md"}
    publish(visit, "subject", "me/everyone", WRITER, False)
    assert not hub.repositories["me/everyone"].private
    with pytest.raises(InputError, match="me/everyone is public already"):
        publish(visit, "subject", "me/everyone", WRITER, True)


@pytest.mark.parametrize(("repository", "token"), [("", WRITER), ("me/ada", ""), ("  ", WRITER), ("me/ada", " \n")])
def test_publishing_needs_a_name_and_a_token(
    studio: Studio, visit: Visit, ada: Personalization, hub: HubServer, repository: str, token: str
) -> None:
    with pytest.raises(InputError, match="nobody is personalised yet"):
        publish(visit, "subject", "me/ada", WRITER, True)
    welcome(studio, visit, ada)
    # The server's own token, which is there, is not taken in place of the visitor's.
    with pytest.raises(InputError, match="the name of the repository and a token with write access are needed"):
        publish(visit, "subject", repository, token, True)
    assert hub.requests == []


@pytest.mark.parametrize("token", [READER, "hf_wrong_and_secret", "geheim ö", "two\nlines"])
def test_a_token_is_in_no_message(
    studio: Studio,
    visit: Visit,
    ada: Personalization,
    hub: HubServer,
    token: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    welcome(studio, visit, ada)
    with pytest.raises(SaveError) as caught:
        publish(visit, "subject", "me/ada", token, True)
    told = capsys.readouterr()
    assert "\n" not in str(caught.value)
    for text in (str(caught.value), told.out, told.err, caplog.text):
        assert token not in text
    assert "me/ada" not in hub.repositories


def test_styles_are_mixed_by_the_names_on_the_page(studio: Studio, visit: Visit, ada: Personalization) -> None:
    bob = Personalization({}, {"subject": -ada.pivots["subject"]}, ada.base)
    welcome(studio, visit, ada)
    assert welcome(studio, visit, bob) == ["subject (2)"]
    assert mix(studio, visit, "subject", "subject (2)", (0.0, 1.0)) == "mix:subject (2)"
    assert mix(studio, visit, "subject", "subject (2)", (0.5, 1.0)) == "mix:subject (2)_layers4-7"
    assert mix(studio, visit, "subject", "nobody here", (0.25, 0.5)).startswith("mix:seed")
    with pytest.raises(InputError, match="choose somebody else"):
        mix(studio, visit, "subject", "subject", (0.0, 1.0))
    # Everything of somebody's style is somebody's picture, with the weights of who is edited.
    visit.lines["subject"] = ["mix:subject (2)"]
    (edit,) = studio.check(visit, visit.lines["subject"])
    assert isinstance(edit, StyleMix)
    ws = broadcast_ws(studio.pipe.generator, visit.portraits["subject"].pivot)
    assert torch.equal(edit.apply(ws), broadcast_ws(studio.pipe.generator, bob.pivots["subject"][None]))


def test_strangers_load_no_more_than_a_personalisation(
    pipe: PTIPipeline, ada: Personalization, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.push_to_hub("me/ada", delta="exact", private=False)
    public = Studio(pipe, Settings())
    monkeypatch.setattr("pti_hub.app.people._LARGEST", 1_000)
    with pytest.raises(WeightsError, match="holds files of more than"):
        load(public, public.visits.of("a"), "me/ada")
