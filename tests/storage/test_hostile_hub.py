"""A Hub that answers with what it should not: each ends in one line, soon, and the token goes nowhere else."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.hub_server import WRITER, Fault, HubServer

from pti_hub import Personalization, PTIError
from pti_hub.storage import patience

ALWAYS = 1_000_000


class _Elsewhere(BaseHTTPRequestHandler):
    """Another host, which writes down what it is told."""

    heard: list[str]

    def do_GET(self) -> None:
        self.heard.append(f"{self.path} {self.headers}")
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(b"{}")

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """The address of another host, and what it has heard."""
    heard: list[str] = []
    handler = type("Handler", (_Elsewhere,), {"heard": heard})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/elsewhere", heard
        server.shutdown()


@pytest.fixture
def files(ada: Personalization, tmp_path: Path) -> dict[str, bytes]:
    """A personalisation's files."""
    ada.save_pretrained(tmp_path / "ada")
    return {path.name: path.read_bytes() for path in (tmp_path / "ada").iterdir()}


def refusal(name: str, capfd: pytest.CaptureFixture[str]) -> str:
    """What is said when a personalisation can't be had."""
    start = time.monotonic()
    with pytest.raises(PTIError) as caught:
        Personalization.from_pretrained(name)
    assert time.monotonic() - start < 20
    said = str(caught.value)
    assert "\n" not in said and len(said) < 1000
    shown = capfd.readouterr()
    assert WRITER not in said + shown.out + shown.err
    return said


@pytest.mark.parametrize("where", ["GET /api/models/you/ada", "(GET|HEAD) .*/resolve/"])
def test_a_redirect_to_itself(
    hub: HubServer, files: dict[str, bytes], where: str, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.add("you/ada", files)
    loop = (
        f"{hub.url}/you/ada/resolve/main/personalization.json"
        if "resolve" in where
        else f"{hub.url}/api/models/you/ada"
    )
    hub.faults.append(Fault(where, status=302, times=ALWAYS, headers={"Location": loop}))
    refusal("you/ada", capfd)
    assert len(hub.requests) < 200


@pytest.mark.parametrize("where", ["GET /api/models/you/ada", "(GET|HEAD) .*/resolve/"])
def test_the_token_is_not_taken_to_another_host(
    hub: HubServer,
    files: dict[str, bytes],
    where: str,
    elsewhere: tuple[str, list[str]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    address, heard = elsewhere
    hub.add("you/ada", files)
    hub.faults.append(Fault(where, status=302, times=ALWAYS, headers={"Location": address}))
    refusal("you/ada", capfd)
    assert not any(WRITER in line for line in heard)


def test_a_page_instead_of_an_answer(
    hub: HubServer, files: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    hub.add("you/ada", files)
    hub.faults.append(Fault("GET /api/models", status=200, times=ALWAYS, headers={"Content-Type": "text/html"}))
    refusal("you/ada", capfd)


def test_a_name_that_is_too_long(hub: HubServer, files: dict[str, bytes], capfd: pytest.CaptureFixture[str]) -> None:
    hub.add("you/ada", {**files, "a" * 5000 + ".json": b"{}"})
    refusal("you/ada", capfd)


def test_a_hundred_thousand_files(hub: HubServer, files: dict[str, bytes]) -> None:
    many = {f"{number}.txt": b"" for number in range(100_000)}
    hub.add("you/ada", {**many, **files})
    start = time.monotonic()
    assert list(Personalization.from_pretrained("you/ada").pivots) == ["subject"]
    assert time.monotonic() - start < 20
    assert not any(".txt" in line for line in hub.requests)


def test_other_bytes_than_announced(hub: HubServer, files: dict[str, bytes], capfd: pytest.CaptureFixture[str]) -> None:
    hub.add("you/ada", files)
    hub.faults.append(Fault("GET .*/resolve/.*safetensors", damage=True))
    assert "is not what the Hub announced" in refusal("you/ada", capfd)
    assert list(Personalization.from_pretrained("you/ada").pivots) == ["subject"]


@pytest.mark.parametrize("where", ["GET /api/models/you/ada", "GET .*/resolve/"])
def test_a_byte_now_and_then(
    hub: HubServer,
    files: dict[str, bytes],
    where: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 1.0)
    hub.add("you/ada", files)
    hub.faults.append(Fault(where, times=ALWAYS, drips=True))
    assert re.search(r"127.0.0.1 sent \d+ bytes in 1 seconds; try again", refusal("you/ada", capfd))


def test_slow_but_not_too_slow(hub: HubServer, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.2)
    monkeypatch.setattr(patience, "SLOWEST", 5)
    hub.add("you/ada", {**files, "README.md": b"12345678"})
    hub.faults.append(Fault("GET .*/resolve/.*README.md", times=ALWAYS, drips=True))
    assert list(Personalization.from_pretrained("you/ada").pivots) == ["subject"]
