"""A studio on tiny networks, and a browser that fetches what it shows."""

from __future__ import annotations

import importlib.util
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image

from pti_hub import PTIPipeline
from pti_hub.generators import MobileStyleGAN
from pti_hub.images import save_image
from pti_hub.logging import get_logger

if TYPE_CHECKING:
    from pti_hub.app.studio import Studio
    from pti_hub.app.visits import Visit

# Without pti-hub[app] there is nothing here to test, and nothing to import either.
collect_ignore_glob = [] if importlib.util.find_spec("gradio") else ["test_*.py"]


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """The log's filters are the same afterwards."""
    before = [(handler, list(handler.filters)) for handler in get_logger("pti_hub").handlers]
    yield
    for handler, filters in before:
        handler.filters[:] = filters


@pytest.fixture
def studio(pipe: PTIPipeline) -> Studio:
    """A studio whose pipeline takes whole pictures."""
    from pti_hub.app.settings import Settings
    from pti_hub.app.studio import Studio

    return Studio(pipe, Settings())


@pytest.fixture
def face_studio(studio: Studio) -> Studio:
    """A studio whose pipeline looks for faces."""
    studio.pipe.aligns_faces = True
    return studio


@pytest.fixture
def visit(studio: Studio) -> Visit:
    """A page that was opened just now."""
    return studio.visits.of("a")


@pytest.fixture
def fetch() -> Callable[[Studio, str], bytes]:
    """What a browser gets at an address."""
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    def get(studio: Studio, address: str) -> bytes:
        answer = TestClient(Starlette(routes=[studio.pictures.route])).get(address)
        assert answer.status_code == 200
        return answer.content

    return get


@pytest.fixture
def square(photos: Path) -> Path:
    """A picture of 200² px."""
    return photos / "a.png"


@pytest.fixture
def group_file(group: Image.Image, tmp_path: Path) -> Path:
    """A JPEG file of three faces."""
    path = tmp_path / "group.JPG"
    save_image(group, path)
    return path


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stands for the system's folder in memory; signals and environment are the same afterwards."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr("pti_hub.app.serving._MEMORY", folder)
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    before = signal.getsignal(signal.SIGTERM)
    yield folder
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def renderings(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """Threads that were in the generator at once: it has other weights meanwhile, for all of them."""
    inside: set[int] = set()
    met: list[set[int]] = []
    plain = MobileStyleGAN.forward

    def watched(self: MobileStyleGAN, *arguments: Any, **options: Any) -> torch.Tensor:
        inside.add(threading.get_ident())
        if len(inside) > 1:
            met.append(set(inside))
        try:
            time.sleep(0.005)
            return plain(self, *arguments, **options)
        finally:
            inside.discard(threading.get_ident())

    monkeypatch.setattr(MobileStyleGAN, "forward", watched)
    return met
