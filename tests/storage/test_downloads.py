"""Published files that are fetched, from a real local server."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from support.file_server import FileServer, published

from pti_hub import WeightsError
from pti_hub.storage import patience


def test_a_download_that_was_cut_short_goes_on(file_server: FileServer) -> None:
    file = published(file_server)
    partial = file.path.with_name(f"{file.path.name}.partial")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(file_server.content[:1000])
    assert file.fetch().read_bytes() == file_server.content
    assert file_server.asked == ["bytes=1000-"]
    assert [path for path in file.path.parent.iterdir() if path.suffix != ".lock"] == [file.path]


def test_a_download_that_only_lacked_its_name_is_begun_anew(file_server: FileServer) -> None:
    file = replace(published(file_server), sha256=None, size=None)
    partial = file.path.with_name(f"{file.path.name}.partial")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(file_server.content)
    assert file.fetch().read_bytes() == file_server.content
    assert file_server.asked == [f"bytes={len(file_server.content)}-", None]


def test_what_is_not_the_file_is_not_kept(file_server: FileServer) -> None:
    file = published(file_server)
    file_server.content = b"x" * len(file_server.content)
    with pytest.raises(WeightsError, match=r"ffhq\.pkl sent has SHA-256 .*, expected .*fetch it again"):
        file.fetch()
    assert [path for path in file.path.parent.iterdir() if path.suffix != ".lock"] == []


def test_without_a_known_checksum_it_is_told(file_server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    replace(published(file_server), sha256=None).fetch()
    assert f"this one has SHA-256 {hashlib.sha256(file_server.content).hexdigest()}" in capsys.readouterr().err


@pytest.mark.parametrize("status", [403, 404])
def test_a_server_that_refuses_is_one_line(file_server: FileServer, status: int) -> None:
    file_server.status = status
    with pytest.raises(WeightsError, match=rf"ffhq\.pkl could not be fetched \(.*{status}.*\); try again"):
        published(file_server).fetch()


def test_no_server(file_server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    file = replace(published(file_server), url="http://127.0.0.1:9/ffhq.pkl")
    with pytest.raises(WeightsError, match="could not be fetched"):
        file.fetch()
    with pytest.raises(WeightsError, match="only local files were asked for"):
        file.fetch(local_files_only=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="could not be fetched"):
        file.fetch()


def test_a_server_that_sends_next_to_nothing(file_server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.5)
    file_server.drips = True
    with pytest.raises(WeightsError, match=r"could not be fetched \(127.0.0.1 sent \d+ bytes in .*\); try again"):
        published(file_server).fetch()
