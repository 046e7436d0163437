"""README and docs: what they show is typed like code, understood by the commands, and linked to files that exist."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from support.command_lines import understand
from support.places import ROOT

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])

# A page that is made when the site is built, where links to it are checked.
GENERATED = "cli.md"

# What a document may take as known: the pipeline and the personalisation that README's first snippet makes.
KNOWN = "from pti_hub import Personalization, PTIPipeline; pipe: PTIPipeline; ada: Personalization"

# A reader knows which value is there; the checker does not.
MAY_BE_NONE = re.compile(r'\[union-attr\]|\| None"; expected')


def code_of(document: Path) -> str:
    """The Python of a document, each line where the document has it, below `KNOWN` in place of the title."""
    lines, inside = [KNOWN], False
    for line in document.read_text(encoding="utf-8").splitlines()[1:]:
        fence = line.startswith("```")
        lines.append(line if inside and not fence else "")
        inside = line == "```python" if fence else inside
    return "\n".join(lines) + "\n"


def commands_of(document: Path) -> Iterator[tuple[str, bool]]:
    """Command lines of a document, and whether each is whole: a name in a sentence may lack its arguments."""
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^    (?:\.venv/bin/)?((?:pti-hub |python \w+/).+)", text, re.MULTILINE):
        yield line, True
    for line in re.findall(r"`(pti-hub [^`]+)`", text):
        yield line, False


COMMANDS = [
    pytest.param(line, whole, id=f"{document.relative_to(ROOT)}: {' '.join(line.split()[:6])}")
    for document in DOCUMENTS
    for line, whole in commands_of(document)
]


def test_what_python_shows_is_there(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    for document in DOCUMENTS:
        if "```python" in document.read_text(encoding="utf-8"):
            name = "_".join(document.relative_to(ROOT).with_suffix(".py").parts)
            (tmp_path / name).write_text(code_of(document), encoding="utf-8")
    # With the house's settings, and from its folder, what `make lint` has checked is not checked again.
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *map(str, sorted(tmp_path.iterdir()))],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": "src"},
        capture_output=True,
        text=True,
    )
    assert checked.returncode in (0, 1), checked.stderr + checked.stdout
    shown = [line for line in checked.stdout.splitlines() if line.startswith(str(tmp_path)) and ": error: " in line]
    errors = [line for line in shown if not MAY_BE_NONE.search(line)]
    assert not errors, "\n".join(errors)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[ProcessPoolExecutor]:
    """Another process, since scripts set environment variables, such as the number of threads of processes to come."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize(("line", "whole"), COMMANDS)
def test_commands_are_understood(line: str, whole: bool, elsewhere: ProcessPoolExecutor) -> None:
    elsewhere.submit(understand, line, whole).result()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    broken = [link for link in links if not (document.parent / link).exists() and not link.endswith(GENERATED)]
    assert not broken, f"{document.relative_to(ROOT)} links to {', '.join(broken)}"
