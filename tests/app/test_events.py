"""Events as a browser sends them to a server of the page, and what stays of them on the disk."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from pti_hub import Personalization, PivotalTuner, PivotalTunerConfig, PTIPipeline
from pti_hub.app import Settings, served
from pti_hub.app import studio as studios
from pti_hub.app.studio import WHOLE, Studio


class Refused(Exception):
    """The page shows an error."""


class Browser:
    """One page in a browser."""

    def __init__(self, address: str) -> None:
        self.session = secrets.token_hex(8)
        self.client = httpx.Client(base_url=address, timeout=60)
        self.config = self.client.get("config").json()
        self.components = {component["id"]: component for component in self.config["components"]}

    def place(self, name: str) -> int:
        """The component of that id in the page, or whose label begins like that."""
        for number, component in self.components.items():
            props = component["props"]
            if props.get("elem_id") == name or str(props.get("label")).startswith(name):
                return int(number)
        raise LookupError(name)

    def upload(self, path: Path) -> dict[str, Any]:
        (there,) = self.client.post("gradio_api/upload", files={"files": (path.name, path.read_bytes())}).json()
        return self.file(there, path.name)

    def file(self, path: str, name: str) -> dict[str, Any]:
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def messages(self, name: str, event: str, *data: Any) -> Iterator[dict[str, Any]]:
        place = self.place(name) if name else None
        (fn,) = [fn for fn in self.config["dependencies"] if self._is_target(fn["targets"], place, event)]
        self.outputs = fn["outputs"]
        body = {"data": list(data), "fn_index": fn["id"], "session_hash": self.session, "trigger_id": place}
        self.client.post("gradio_api/queue/join", json=body).raise_for_status()
        with self.client.stream("GET", "gradio_api/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    message = json.loads(line.removeprefix("data:"))
                    yield message
                    if message["msg"] in ("process_completed", "close_stream"):
                        return

    @staticmethod
    def _is_target(targets: list[list[Any]], place: int | None, event: str) -> bool:
        return any(event == target[1] and place in (None, target[0]) for target in targets)

    def do(self, name: str, event: str, *data: Any) -> dict[int, Any]:
        """What changes by an event, by component."""
        *_, last = self.messages(name, event, *data)
        if not last["success"]:
            raise Refused(last["output"].get("error"))
        return dict(zip(self.outputs, last["output"]["data"], strict=False))

    def open(self, path: Path) -> dict[int, Any]:
        return self.do("1. Photograph", "upload", self.upload(path))

    def picture(self, value: Any) -> Image.Image:
        return Image.open(BytesIO(self.client.get(value["url"]).raise_for_status().content)).convert("RGB")

    @contextmanager
    def alive(self) -> Iterator[None]:
        """While the page is open."""
        with self.client.stream("GET", f"gradio_api/heartbeat/{self.session}") as stream:
            beats = stream.iter_lines()
            assert "ALIVE" in next(beats)
            yield
            beats.close()  # type: ignore[attr-defined]


@pytest.fixture
def studio_of(monkeypatch: pytest.MonkeyPatch) -> list[Studio]:
    """The studios of the servers that were started."""
    made: list[Studio] = []
    plain = Studio.__init__

    def remember(self: Studio, *arguments: Any) -> None:
        plain(self, *arguments)
        made.append(self)

    monkeypatch.setattr(studios.Studio, "__init__", remember)
    return made


@pytest.fixture
def address(pipe: PTIPipeline, memory: Path, studio_of: list[Studio]) -> Iterator[str]:
    """Of a server."""
    with served(pipe, Settings(is_local=False)) as url:
        yield url


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def is_learning() -> bool:
    return any(thread.name == "pti-hub-learning" for thread in threading.enumerate())


def pictures_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]


def test_a_journey_leaves_nothing_on_the_disk(address: str, square: Path, memory: Path) -> None:
    ada = Browser(address)
    opened = ada.open(square)
    assert ada.picture(opened[ada.place("numbered")]).size == (200, 200)
    assert pictures_in(memory) == []
    ada.do("learn", "click", [])
    moved = ada.do("edit-smile", "input", WHOLE, 1.5)
    assert moved[ada.place("lines")] == "smile=1.5"
    assert ada.picture(moved[ada.place("face")]).size == (64, 64)
    compared = ada.do("edit-smile", "release", WHOLE, 1.5)[ada.place("compared")]
    before, after = (np.asarray(ada.picture(picture)) for picture in compared)
    assert (before != after).any()
    written = ada.do("apply", "click", WHOLE, "age=2\nsmile=-1")
    assert (written[ada.place("edit-smile")], written[ada.place("edit-age")]) == (-1, 2)
    assert ada.do("reset", "click", WHOLE)[ada.place("lines")] == ""
    assert pictures_in(memory) == []


def test_what_is_no_picture_is_gone_from_the_disk(address: str, photos: Path, square: Path, memory: Path) -> None:
    ada = Browser(address)
    with pytest.raises(Refused, match=r"b\.png' is damaged|b\.png' is not a picture"):
        ada.open(photos / "b.png")
    assert pictures_in(memory) == []
    ada.open(square)
    with pytest.raises(Refused, match="is no ZIP file of a personalisation"):
        (photos / "ada.zip").write_bytes(b"no ZIP file")
        ada.do("Or a ZIP file", "upload", ada.upload(photos / "ada.zip"))
    assert pictures_in(memory) == []


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_picture_of_the_camera_is_gone_from_the_disk(address: str, tmp_path: Path, memory: Path, mode: str) -> None:
    path = tmp_path / "image.png"
    Image.new(mode, (80, 80)).save(path)
    ada = Browser(address)
    opened = ada.do("Camera", "input", ada.upload(path))
    assert ada.picture(opened[ada.place("numbered")]).size == (80, 80)
    assert pictures_in(memory) == []


@pytest.mark.parametrize(("place", "event"), [("1. Photograph", "upload"), ("Camera", "input")])
def test_nobody_deletes_what_others_have_uploaded(
    address: str, square: Path, memory: Path, place: str, event: str
) -> None:
    ada, eve = Browser(address), Browser(address)
    theirs = Path(ada.upload(square)["path"])
    folder = theirs.parents[1]
    assert folder.parent == memory
    (memory / "of another program").touch()
    for path, name in ((folder, "x.svg"), (folder / "x.png", "x.png"), (folder / "x.svg", "x.svg")):
        with pytest.raises(Refused):
            eve.do(place, event, eve.file(str(path), name))
        assert theirs.exists(), name
        assert (memory / "of another program").exists(), name


def test_strong_edits_do_not_stop_the_sliders(address: str, square: Path) -> None:
    ada = Browser(address)
    ada.open(square)
    ada.do("learn", "click", [])
    written = ada.do("apply", "click", WHOLE, "smile=5")
    shown = written[ada.place("edit-smile")]
    shown = shown["value"] if isinstance(shown, dict) else shown
    moved = ada.do("edit-age", "input", WHOLE, 1)
    assert moved[ada.place("lines")] == "smile=5\nage=1"


def test_two_pages_at_once_stay_apart(address: str, tmp_path: Path) -> None:
    colours = {"red": (200, 40, 40), "blue": (40, 40, 200)}
    start = threading.Barrier(2)

    def visit(name: str) -> list[np.ndarray]:
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (64, 64), colours[name]).save(path)
        browser, seen = Browser(address), []
        start.wait(60)
        for _ in range(3):
            seen.append(browser.picture(browser.open(path)[browser.place("numbered")]))
            browser.do("learn", "click", [])
            compared = browser.do("edit-smile", "release", WHOLE, 0)
            seen += [browser.picture(picture) for picture in compared[browser.place("compared")]]
        return [np.asarray(picture).reshape(-1, 3).mean(0) for picture in seen]

    with ThreadPoolExecutor(2) as threads:
        for name, means in zip(colours, threads.map(visit, colours), strict=True):
            assert all(np.abs(mean - colours[name]).max() < 10 for mean in means), name


def begin_learning(browser: Browser, photograph: Path) -> Iterator[dict[str, Any]]:
    """What the page says while it learns, from the first step on."""
    browser.open(photograph)
    messages = browser.messages("learn", "click", [])
    while next(messages)["msg"] != "process_generating":
        pass
    assert wait_until(is_learning)
    return messages


def test_a_page_that_is_closed_ends_its_work(
    address: str, pipe: PTIPipeline, square: Path, studio_of: list[Studio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pti_hub.app.tuning._EVERY", 0.0)
    pipe.tuner = PivotalTuner(PivotalTunerConfig(num_steps=100_000, lpips_threshold=0.0))
    ada = Browser(address)
    with ada.alive():
        messages = begin_learning(ada, square)
    messages.close()  # type: ignore[attr-defined]
    ada.client.close()
    assert wait_until(lambda: not is_learning())
    assert wait_until(lambda: len(studio_of[-1].visits) == len(studio_of[-1].pictures) == 0)
    # The next one need not wait.
    assert Browser(address).open(square)


def test_nobody_paints_while_the_work_of_a_closed_page_ends(
    address: str,
    pipe: PTIPipeline,
    ada: Personalization,
    square: Path,
    renderings: list[set[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pti_hub.app.tuning._EVERY", 0.0)
    pipe.load_personalization(ada)
    pipe.tuner = PivotalTuner(PivotalTunerConfig(num_steps=100_000, lpips_threshold=0.0))
    first, second = Browser(address), Browser(address)
    with first.alive():
        messages = begin_learning(first, square)
    messages.close()  # type: ignore[attr-defined]
    for count in range(1, 6):
        met = second.do("", "load")
        assert met[second.place("who")]["choices"][-1][0].startswith("subject"), count
    assert renderings == []
