"""The documentation site: it builds strictly, holds every public name with its arguments, and asks nobody else."""

from __future__ import annotations

import importlib
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import pytest
import torch
import typer
from support.browser import browsing, wait_for
from support.places import ROOT

from pti_hub.cli.commands import app

pytest.importorskip("mkdocs", reason="needs pti-hub[docs]")
import griffe

ROOMS = ("app", "edits", "edits.learning", "encoders", "evaluation", "faces", "generators", "images", "optim")
ROOMS += ("perceptual", "personalization", "pipelines", "projectors", "tuners")
PUBLIC: dict[str, tuple[str, ...] | None] = {"pti_hub": None, **{f"pti_hub.{room}": None for room in ROOMS}}
PUBLIC["pti_hub.checkpoints.export"] = ("export",)
PUBLIC["pti_hub.pipelines.learning"] = ("learn_from_examples", "optimize_words", "train_mapper_for_words")
PUBLIC["pti_hub.storage"] = ("DownloadOptions", "Network", "PublishedFile", "PushOptions")
"""Public packages, as docs/reference/index.md says, and their public names where these are not all of `__all__`."""

NAMES = [
    (package, name)
    for package, names in PUBLIC.items()
    for name in names or importlib.import_module(package).__all__
    if (package, name) != ("pti_hub", "logging")  # a module, whose functions are there
]
# What these classes do is said where they are documented.
INHERITED = {*dir(torch.nn.Module), *dir(torch.optim.Optimizer)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "NO_MKDOCS_2_WARNING": "1",
            "PTI_HUB_REPOSITORY": "https://example.org/us/pti-hub",
        },
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_a_notebook_is_a_page(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "words"]},
        {
            "cell_type": "code",
            "source": "print(1)",
            "outputs": [
                {"name": "stdout", "text": ["1\n"]},
                {"name": "stderr", "text": ["a bar\n"]},
                {"data": {"image/png": "aGk=\n", "text/plain": ["<Image>"]}},
                {"data": {"text/plain": ["7"]}},
            ],
        },
    ]
    (tmp_path / "x.ipynb").write_text(json.dumps({"cells": cells}))
    page = runpy.run_path(str(ROOT / "docs" / "hooks.py"))["page_of"](tmp_path / "x.ipynb")
    picture = "![what the cell shows](data:image/png;base64,aGk=)"
    expected = ["# Title\nwords", "```python\nprint(1)\n```", "```text\n1\n```", picture, "```text\n7\n```"]
    assert page.split("\n\n") == [*expected, "[This page as a notebook](x.ipynb)"]


@pytest.fixture(scope="module")
def package() -> griffe.Module:
    loaded = griffe.load("pti_hub", search_paths=[ROOT / "src"], docstring_parser="google", resolve_aliases=True)
    assert isinstance(loaded, griffe.Module)
    return loaded


def found(package: griffe.Module, room: str, name: str) -> griffe.Object:
    """What a public name stands for; a function hides the module that it has the name of."""
    value = getattr(importlib.import_module(room), name)
    path = f"{value.__module__}.{name}" if isinstance(value, (type, FunctionType)) else f"{room}.{name}"
    member = package[path.removeprefix("pti_hub.")]
    return member.final_target if isinstance(member, griffe.Alias) else member


def test_every_public_name_is_in_the_reference(site: Path, package: griffe.Module) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").glob("*.html"))
    shown = set(re.findall(r'id="(pti_hub\.[^"]+)"', pages))
    paths: dict[str, set[str]] = {}
    for room, name in NAMES:
        path = found(package, room, name).path
        paths.setdefault(path, {path}).add(f"{room}.{name}")
    missing = [path for path, names in paths.items() if not shown & names]
    assert not missing, f"docs/reference/ lacks {', '.join(missing)}"


def test_every_command_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    names = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert "learn-edit" in names
    assert not [name for name in names if f'id="pti-hub-{name}"' not in page]


def documented(thing: griffe.Object) -> set[str]:
    """Arguments that a docstring names, in a section or between backticks."""
    if thing.docstring is None:
        return set()
    sections = [s for s in thing.docstring.parsed if s.kind.value in ("parameters", "attributes")]
    names = {entry.name.lstrip("*") for section in sections for entry in section.value}
    return names | set(re.findall(r"`(\w+)", thing.docstring.value))


def members(thing: griffe.Module | griffe.Class) -> Iterator[griffe.Function | griffe.Class]:
    """All functions and classes of a module or class, at any depth."""
    for member in thing.members.values():
        if isinstance(member, (griffe.Function, griffe.Class)):
            yield member
        if isinstance(member, (griffe.Module, griffe.Class)):
            yield from members(member)


def lacking(thing: griffe.Function | griffe.Class, package: griffe.Module) -> list[str]:
    """Arguments that nothing is said of, neither here nor where the docstring sends its reader."""
    known = documented(thing)
    if isinstance(thing, griffe.Class):
        known |= {name for name, member in thing.members.items() if member.is_attribute and member.docstring}
    text = thing.docstring.value if thing.docstring else ""
    for reference in re.findall(r"(?:as|as in|as of|see) `([\w.]+)`", text, re.IGNORECASE):
        name = reference.rsplit(".", 1)[-1] if reference.startswith("pti_hub.") else reference
        known |= {n for other in members(package) if other.path.endswith(f".{name}") for n in documented(other)}
    arguments = [parameter.name.lstrip("*") for parameter in thing.parameters]
    return [name for name in arguments if name not in ("self", "cls") and name not in known]


@pytest.mark.parametrize("room", PUBLIC)
def test_every_argument_is_documented(room: str, package: griffe.Module) -> None:
    problems = []
    for thing in [found(package, *named) for named in NAMES if named[0] == room]:
        things = [thing]
        if isinstance(thing, griffe.Class):
            things += [
                method.final_target if isinstance(method, griffe.Alias) else method
                for name, method in thing.members.items()
                if method.is_function and (name not in INHERITED or method.docstring)
                if name == "__call__" or not name.startswith("_")
            ]
        for each in things:
            if each.docstring is None:
                problems.append(f"{each.path}: no docstring")
            elif isinstance(each, (griffe.Function, griffe.Class)) and (names := lacking(each, package)):
                problems.append(f"{each.path}: {', '.join(names)}")
    assert not problems, "\n".join(problems)


def test_snippets_import_what_is_in_the_reference() -> None:
    public = {f"{package}.{name}" for package, name in NAMES} | {"pti_hub.logging"}
    for document in (ROOT / "README.md", *ROOT.glob("docs/**/*.md")):
        for module, names in re.findall(
            r"^from (pti_hub[\w.]*) import (.+)$", document.read_text("utf-8"), re.MULTILINE
        ):
            for name in names.split(", "):
                assert f"{module}.{name}" in public, f"{document.name} imports {module}.{name}, which is not public"


def test_pages_ask_nobody_for_anything(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        asked = re.findall(r'(?:<(?:script|img|iframe|source)[^>]*\bsrc|<link[^>]*\bhref)="(https?://[^"]+)"', text)
        assert not asked, f"{page.relative_to(site)} asks for {asked}"


def test_links_out_of_the_documents_lead_to_the_repository(site: Path) -> None:
    page = (site / "tutorials" / "evaluation.html").read_text(encoding="utf-8")
    assert 'href="https://example.org/us/pti-hub/blob/HEAD/examples/evaluate.py"' in page


def test_pages_fit_a_phone_and_are_searched_without_a_server(site: Path, tmp_path: Path) -> None:
    with browsing(tmp_path / "profile", 390, 844) as browser:
        for page in ("index", "tutorials/photograph", "edits", "method", "results/portraits", "reference/pti_hub"):
            browser.get((site / f"{page}.html").as_uri())
            assert browser.execute_script("return document.documentElement.scrollWidth") == 390, page
            broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
            assert not browser.execute_script(broken), page
        browser.execute_script("document.querySelector('.md-search__input').focus()")
        browser.switch_to.active_element.send_keys("natural gradients")
        links = "return [...document.querySelectorAll('.md-search-result__link')].map(a => a.href)"
        found = wait_for(lambda: browser.execute_script(links), "results of the search")
        assert any("encoder.html" in link for link in found)
