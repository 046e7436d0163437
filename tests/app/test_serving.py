"""A server of the page."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from pti_hub import InputError, MissingDependencyError, PTIPipeline
from pti_hub.app import Settings, serve, served
from pti_hub.app.serving import _sweep

pytestmark = pytest.mark.usefixtures("memory")


@pytest.mark.parametrize("name", ["megabytes", "megapixels", "visits", "idle_minutes"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_are_positive(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"^{name}={value!r}; expected a positive number$"):
        Settings(**{name: value})
    assert getattr(Settings(**{name: 1}), name) == 1


def test_a_page_is_public_unless_it_is_said_to_be_local() -> None:
    assert not Settings().is_local


@pytest.mark.parametrize("auth", ["", "ada", ":", "ada:", ":secret"])
def test_a_malformed_login_is_refused(pipe: PTIPipeline, auth: str, memory: Path) -> None:
    with pytest.raises(InputError, match=r"^--auth was given without a name or a password; expected NAME:PASSWORD$"):
        serve(pipe, auth=auth)
    assert list(memory.iterdir()) == []


def test_without_gradio_the_command_is_told(pipe: PTIPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'pti-hub\[app\]'"), served(pipe):
        pytest.fail("it is served")


def test_folders_of_dead_servers_are_swept(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not psutil.pid_exists(ended.pid)
    dead, living = tmp_path / f"pti-hub-{ended.pid}-x", tmp_path / f"pti-hub-{os.getpid()}-x"
    others = [tmp_path / name for name in (f"other-{ended.pid}-x", "pti-hub-x-y", "pti-hub-", f"pti-hub-{ended.pid}")]
    for folder in (dead, living, *others):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "picture.png").write_bytes(b"1")
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / f"pti-hub-{ended.pid}-link").symlink_to(kept)
    _sweep(tmp_path)
    assert not dead.exists()
    assert all((folder / "deep" / "picture.png").exists() for folder in (living, *others))
    assert (kept / "file").exists()


def test_a_page_is_served(pipe: PTIPipeline, memory: Path) -> None:
    before = tempfile.gettempdir()
    with served(pipe) as address:
        assert address.startswith("http://127.0.0.1:")
        assert [folder.name.startswith(f"pti-hub-{os.getpid()}-") for folder in memory.iterdir()] == [True]
        page = httpx.get(address)
        assert page.status_code == 200
        assert "PTI Hub" in page.text
        # Nothing is fetched from elsewhere, such as fonts.
        assert "fonts.googleapis.com" not in page.text
        assert httpx.get(f"{address}pictures/x").status_code == 404
    assert list(memory.iterdir()) == []
    assert tempfile.gettempdir() == before
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def test_afterwards_the_environment_is_as_before(pipe: PTIPipeline, memory: Path) -> None:
    with served(pipe):
        assert Path(os.environ["GRADIO_TEMP_DIR"]) in memory.iterdir()
    assert "GRADIO_TEMP_DIR" not in os.environ  # gradio would make the folder again, and leave it


def test_a_login_is_asked_for(pipe: PTIPipeline) -> None:
    with served(pipe, auth="ada:se:cret") as address, httpx.Client(base_url=address) as client:
        assert client.get("config").status_code == 401
        for name, password in (("ada", "x"), ("ada", "se"), ("bob", "se:cret")):
            assert client.post("login", data={"username": name, "password": password}).status_code == 400
        assert client.get("config").status_code == 401
        assert client.post("gradio_api/upload", files={"files": b"1"}).status_code == 401
        assert client.post("login", data={"username": "ada", "password": "se:cret"}).status_code == 200
        assert client.get("config").status_code == 200


def test_a_port_that_is_taken_is_one_line(pipe: PTIPipeline, memory: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"^127.0.0.1:{port} can't be listened on: .*; give another --port$"):
            serve(pipe, port=port)
    assert list(memory.iterdir()) == []


def test_files_that_are_too_large_are_not_taken(pipe: PTIPipeline, memory: Path) -> None:
    with served(pipe, Settings(megabytes=1)) as address:
        small = httpx.post(f"{address}gradio_api/upload", files={"files": ("a.png", b"1" * 900_000)})
        large = httpx.post(f"{address}gradio_api/upload", files={"files": ("b.png", b"1" * 1_200_000)})
        assert (small.status_code, large.status_code) == (200, 413)
        assert [path.name for path in memory.rglob("*.png")] == ["a.png"]
    assert list(memory.iterdir()) == []


# A shell has its background jobs ignore Ctrl-C, and so would a child of tests that run there.
SERVE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
import torch
from pti_hub import PTIPipeline
from pti_hub.app import serve, serving
serving._MEMORY = Path(sys.argv[1])
serve(PTIPipeline.from_pretrained(sys.argv[2], device="cpu"))
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_ended_leaves_nothing(
    pipe: PTIPipeline, memory: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    pipe.save_pretrained(tmp_path / "tiny")
    command = [sys.executable, "-c", SERVE, str(memory), str(tmp_path / "tiny")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("PTI Hub is at http://127.0.0.1:")
        assert len(list(memory.iterdir())) == 1
        server.send_signal(ending)
        assert server.wait(60) == 0
    assert list(memory.iterdir()) == []
