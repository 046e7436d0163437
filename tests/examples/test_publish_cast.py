"""A cast is published, and edited as others would edit it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from support.hub_server import HubServer, files_of
from support.pictures import smooth_picture

from pti_hub import PTIPipeline


@pytest.mark.parametrize("preview", [False, True])
def test_a_cast_is_published(hub: HubServer, pipe: PTIPipeline, tmp_path: Path, preview: bool) -> None:
    pipe.push_to_hub("me/base")
    for name in ("ada", "bob"):
        smooth_picture(64, 64).save(tmp_path / f"{name}.png")
    example: Any = importlib.import_module("publish_cast")
    example.main(tmp_path, "me/cast", "me/base", "compact", "smile", preview, False, None, tmp_path / "out")
    assert hub.repositories["me/cast"].private
    assert (tmp_path / "out" / "bob.png").is_file()
    card = files_of(hub, "me/cast")["README.md"].decode()
    # Each person unedited and edited, side by side.
    assert ("| ada, unedited | ada, smile | bob, unedited | bob, smile |" in card) == preview
    assert ("gallery/3.jpg" in files_of(hub, "me/cast")) == preview
