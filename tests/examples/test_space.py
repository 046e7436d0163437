"""The Space: the page, and nothing else."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from pti_hub import PTIPipeline
from pti_hub.app import Settings
from pti_hub.storage import pinned_packages

ROOT = Path(__file__).parents[2]
SPACE = ROOT / "examples" / "space"


def test_the_space_serves_the_page(pipe: PTIPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe.save_pretrained(tmp_path / "mine")
    served: dict[str, Any] = {}

    def serve(pipe: PTIPipeline, settings: Settings, **options: Any) -> None:
        served.update(base=pipe.base, settings=settings, **options)

    monkeypatch.setattr("pti_hub.app.serve", serve)
    monkeypatch.setenv("PTI_HUB_MODEL", str(tmp_path / "mine"))
    runpy.run_path(str(SPACE / "app.py"), run_name="__main__")
    assert served["base"] == pipe.base
    # Strangers come: no folders of the server for them.
    assert not served["settings"].is_local
    assert (served["host"], served["port"]) == ("0.0.0.0", 7860)


def test_the_hub_understands_the_space() -> None:
    _, matter, text = (SPACE / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    card = yaml.safe_load(matter)
    assert card["sdk"] == "gradio"
    assert (SPACE / card["app_file"]).is_file()
    assert len(card["short_description"]) <= 60
    pinned = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8")
    assert f"gradio=={card['sdk_version']}\n" in pinned
    assert "PTI_HUB_MODEL" in text
    wanted = (SPACE / "requirements.txt").read_text(encoding="utf-8")
    assert re.search(r"^pti-hub\[app\]$", wanted, re.MULTILINE)
    assert f"face-recognition-models=={pinned_packages()['face-recognition-models']}\n" in wanted
