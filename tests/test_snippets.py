"""What the documents show is run, each page from top to bottom, on a pipeline of tiny networks with the real names."""

from __future__ import annotations

import multiprocessing
import re
import shlex
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.commands import run, run_script
from support.foreign_files import write_nvidia
from support.hub_server import HubServer
from support.needs import needs_evaluation, needs_lpips, needs_models
from support.networks import tame_stylegan2
from support.places import ROOT

from pti_hub import Personalization, PivotalTuner, PivotalTunerConfig, PTIPipeline
from pti_hub.checkpoints.nvidia import export_nvidia
from pti_hub.edits import Direction, Edit, LatentMapper, YawEdit, save_edits, shipped_edits
from pti_hub.encoders import LightEncoder
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.pipelines.pretrained import cache_folder
from pti_hub.projectors import EncoderProjector, EncoderProjectorConfig

pytestmark = needs_models

TUTORIALS = sorted(ROOT.glob("docs/tutorials/*.md"))
OTHERS = [
    document
    for document in sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
    if document not in TUTORIALS and "```python" in document.read_text(encoding="utf-8")
]
NOT_RUN = {
    "served(pipe)": "a server that runs until it is interrupted",
    "pipe.text_model =": "needs a text model of the Hub",
    "optimize_words": "needs a text model of the Hub",
    "pipe.drag(": "its points are those of another photograph",
    "s:4_321": "the tiny generator has no channel of that number",
    "pti-hub weights": "installs packages",
}
"""Snippets and command lines that are not run, by what they contain, and why."""


def steps_of(document: Path) -> Iterator[tuple[int, str]]:
    """Snippets of Python and command lines in order, each with the number of its first line."""
    text = document.read_text(encoding="utf-8")
    step = r"^```python\n(?P<code>.*?)^```|^    (?P<command>(?:pti-hub|python examples/)(?:[^\n]*\\\n)*[^\n]*)"
    for match in re.finditer(step, text, re.MULTILINE | re.DOTALL):
        kind = "code" if match["code"] is not None else "command"
        yield text.count("\n", 0, match.start(kind)) + 1, match[kind]


@pytest.fixture
def place(
    large_pipe: PTIPipeline,
    astronaut: Image.Image,
    group: Image.Image,
    hub: HubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    random_lpips: None,
) -> PTIPipeline:
    """The current folder, with the files that the documents name; the default pipeline is a tiny one of 256² px."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    people = ("people/ada", "people/bob/1", "people/bob/2")
    for name in ("photo", "ada", "bob", "bob1", "bob2", "cat", "photos/1", *people):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        astronaut.save(f"{name}.jpg")
    group.save("group.jpg")
    pipe, generator = large_pipe, large_pipe.generator
    encoder = LightEncoder(16, generator.num_ws, "w", 64).eval()
    random = torch.Generator().manual_seed(0)
    small = PTIPipeline(
        generator,
        pipe.perceptual,
        EncoderProjector(encoder, EncoderProjectorConfig(refine_steps=2, resolution=64)),
        tuner=PivotalTuner(PivotalTunerConfig(num_steps=3, check_interval=2)),
        edits={name: Direction(name, torch.randn(16, generator=random), "random") for name in shipped_edits()},
        name=DEFAULT_CHECKPOINT,
    )
    for path in (*map(cache_folder, (DEFAULT_CHECKPOINT, "stylegan2-ffhq")), "my-cats", "my-stylegan2"):
        small.save_pretrained(path)
    tame_stylegan2().push_to_hub("me/stylegan2-churches")
    encoder.save_pretrained("outputs/encoder/encoder")
    for name in ("purple-hair", "mohawk"):
        LatentMapper(["coarse"], 16, 1).save_pretrained(name)
    save_edits(Path("my-directions"), {"mouth": Direction("mouth", torch.ones(16), "ones")})
    monkeypatch.setattr(YawEdit, "resolve", lambda self, yaw: Edit(self.direction, 1.0))  # these heads are none
    return PTIPipeline.from_pretrained(DEFAULT_CHECKPOINT)


def follow(
    document: Path, known: dict[str, object], monkeypatch: pytest.MonkeyPatch, elsewhere: ProcessPoolExecutor | None
) -> None:
    """Do what a document says.

    Args:
        document: A page.
        known: Names that its Python knows; what the page defines is added.
        monkeypatch: For the arguments of commands.
        elsewhere: The process in which its scripts are run; without one, no command line is run.
    """
    for line, text in steps_of(document):
        if any(part in text for part in NOT_RUN):
            continue
        if text.startswith(("pti-hub ", "python ")):
            program, *arguments = shlex.split(text.replace("\\\n", " "), comments=True)
            if elsewhere is None:
                continue
            if program == "pti-hub":
                assert run(monkeypatch, *arguments) == 0, text
            else:
                script, *rest = arguments
                if "--preset" in rest:
                    rest += ["--set", "w.num_steps=2", "--set", "tuning.num_steps=2"]
                elsewhere.submit(run_script, ROOT / script, rest, Path.cwd()).result()
        else:
            quick = re.sub(r"_steps=\d+", "_steps=2", text).replace("count=2000", "count=200")
            exec(compile("\n" * (line - 1) + quick, str(document), "exec"), known)


@pytest.mark.parametrize(
    "document",
    [pytest.param(path, marks=[needs_evaluation, needs_lpips] * (path.stem == "evaluation")) for path in TUTORIALS],
    ids=[path.stem for path in TUTORIALS],
)
def test_tutorials_run(document: Path, place: PTIPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    if document.stem == "generator":
        write_nvidia(Path("network-snapshot-025000.pkl"), "tame", export_nvidia(tame_stylegan2()))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as elsewhere:
        follow(document, {}, monkeypatch, elsewhere)


@pytest.mark.parametrize("document", OTHERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_other_pages_run(document: Path, place: PTIPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        "PTIPipeline": PTIPipeline,
        "Personalization": Personalization,
        "pipe": place,
        "ada": place("photo.jpg").personalization,
    }
    follow(document, known, monkeypatch, None)
