"""What leaves the repository: the files in the wheel, the description for a package index, the citation."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from support.places import ROOT

SOURCE = ROOT / "src" / "pti_hub"


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What setup.py makes of a repository's address: the arguments it gives to setuptools."""

    def arguments(repository: str) -> dict[str, Any]:
        given: dict[str, Any] = {}
        # The real setuptools replaces modules of the whole process when it is imported.
        monkeypatch.setitem(sys.modules, "setuptools", SimpleNamespace(setup=given.update))
        monkeypatch.setenv("PTI_HUB_REPOSITORY", repository)
        runpy.run_path(str(ROOT / "setup.py"))
        return given

    return arguments


def test_every_file_beside_the_code_is_in_the_wheel() -> None:
    tomllib = pytest.importorskip("tomllib")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    packed = {path for pattern in settings["package-data"]["pti_hub"] for path in SOURCE.glob(pattern)}
    files = {path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    left_out = {path for path in files - packed if path.suffix != ".py"}
    assert not left_out, f"not in the wheel: {', '.join(str(path.relative_to(SOURCE)) for path in sorted(left_out))}"


def test_links_lead_from_an_index_to_the_repository(described: Any) -> None:
    given = described("https://forge.example/me/pti-hub/")
    text = given["long_description"]
    assert "](https://forge.example/me/pti-hub/blob/HEAD/docs/design.md)" in text
    assert "](https://forge.example/me/pti-hub/raw/HEAD/docs/page.gif)" in text
    assert "\n    git clone https://forge.example/me/pti-hub pti-hub\n" in text
    assert "](https://arxiv.org/abs/2106.05744)" in text
    assert not re.search(r"\]\((?!https:)", text)
    assert given["project_urls"] == {"Repository": "https://forge.example/me/pti-hub"}


def test_without_an_address_no_link_and_no_picture_is_broken(described: Any) -> None:
    given = described("")
    assert not re.search(r"\]\((?!https:)", given["long_description"])
    assert "docs/edits.md says how they were learned" in given["long_description"]
    assert given["project_urls"] == {}
    # The rest is README's, word for word.
    written = set(re.findall(r"\w+", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert set(re.findall(r"\w+", given["long_description"])) <= written


def test_the_paper_is_cited_apart_from_the_software() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (paper,) = citation["references"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert f"title   = {{{paper['title']}}}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert [author["family-names"] for author in paper["authors"]] == ["Roich", "Mokady", "Bermano", "Cohen-Or"]
    assert citation["authors"] == [{"name": "The PTI Hub authors"}]


def test_one_file_pins_the_weights() -> None:
    pins = [path for path in (*ROOT.glob("requirements/*.txt"), *SOURCE.rglob("*.txt")) if _pins_weights(path)]
    assert pins == [SOURCE / "storage" / "data" / "weights.txt"]
    assert str(pins[0].relative_to(ROOT)) in (ROOT / "Makefile").read_text(encoding="utf-8")


def _pins_weights(path: Path) -> bool:
    return "random-face==" in path.read_text(encoding="utf-8")
