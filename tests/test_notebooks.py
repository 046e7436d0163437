"""The notebooks run from top to bottom, and what they show was made by running them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.hub_server import HubServer, files_of
from support.places import ROOT

nbformat = pytest.importorskip("nbformat")
NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.ipynb"))

# Runs before a notebook's first cell: one step in place of all, and edits that are not measured on the picture.
ONE_STEP = """
import dataclasses

import torch
from pti_hub import PivotalTuner, PivotalTunerConfig, PTIPipeline
from pti_hub.projectors import EncoderProjector, EncoderProjectorConfig

torch.set_num_threads(1)
load = PTIPipeline.from_pretrained.__func__


def load_for_one_step(cls, *arguments, **keywords):
    pipe = load(cls, *arguments, **keywords)
    pipe.projector = EncoderProjector(pipe.encoder, EncoderProjectorConfig(refine_steps=0))
    pipe.tuner = PivotalTuner(PivotalTunerConfig(num_steps=1, uses_eigenbasis=False))
    pipe.edits = {name: dataclasses.replace(edit, step=None) for name, edit in pipe.edits.items()}
    return pipe


PTIPipeline.from_pretrained = classmethod(load_for_one_step)
"""


@pytest.mark.usefixtures("real_pipe")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(
    path: Path,
    hub: HubServer,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nbclient = pytest.importorskip("nbclient")
    jupyter_client = pytest.importorskip("jupyter_client")
    # The default pipeline is in this home already.
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.getbasetemp() / "hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(ONE_STEP))
    # No kernel that the user has installed: the one of this interpreter.
    specs = jupyter_client.kernelspec.KernelSpecManager(kernel_dirs=[])
    manager = jupyter_client.AsyncKernelManager(kernel_spec_manager=specs)
    nbclient.NotebookClient(notebook, km=manager, resources={"metadata": {"path": str(tmp_path)}}).execute()
    if path.stem == "publish_a_cast":
        assert hub.repositories["me/generated-cast"].private
        assert "gallery/3.jpg" in files_of(hub, "me/generated-cast")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_kept(path: Path) -> None:
    assert path.stat().st_size < 600_000
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    # Each cell was run once, in order.
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) >= 4
    assert {output.output_type for output in outputs} <= {"stream", "execute_result"}
    text = "\n".join(output.text for output in outputs if output.output_type == "stream")
    # Neither folders and addresses of the machine it ran on, nor progress bars.
    assert not re.findall(r"(?<![\w.:/])/\w+/.*|127\.0\.0\.1.*|object at 0x.*|\d%\|.*", text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", "\n".join(cells))
    assert links and all((path.parent / link).exists() for link in links)
