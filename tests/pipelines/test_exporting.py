"""Identities for other people's code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.commands import run
from support.golden import network

from pti_hub import InputError, MissingDependencyError, Personalization, PTIPipeline
from pti_hub.edits import Direction, Step
from pti_hub.faces import Measure
from pti_hub.images import to_tensor
from pti_hub.pipelines.exporting import export_identity, measure_sliders


@pytest.fixture
def cast(pipe: PTIPipeline) -> Personalization:
    """Two people whose generator differs from the base."""
    random = torch.Generator().manual_seed(7)
    deltas = {n: 0.02 * torch.randn(p.shape, generator=random) for n, p in pipe.generator.named_parameters()}
    pivots = {name: pipe.generator.w_avg + torch.randn(16, generator=random) for name in ("ada", "bob")}
    return Personalization(deltas, pivots, pipe.base)


def test_the_graph_of_an_identity_is_the_pipelines_picture(
    pipe: PTIPipeline, cast: Personalization, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    pipe.load_personalization(cast)
    assert export_identity(pipe, tmp_path / "bob.onnx", "bob") == "bob"
    session = onnxruntime.InferenceSession(tmp_path / "bob.onnx")
    ws = np.array(json.loads(session.get_modelmeta().custom_metadata_map["pivot"]), np.float32)[None]
    (picture,) = session.run(None, {"ws": ws})
    expected = to_tensor(pipe.edit("bob")[0])
    assert np.abs(np.clip(picture, -1, 1) - expected.numpy()).max() < 1 / 127


def test_the_pipeline_stays_as_it_is(pipe: PTIPipeline, cast: Personalization, tmp_path: Path) -> None:
    before = {name: t.clone() for name, t in pipe.generator.state_dict().items()}
    pipe.load_personalization(cast)
    export_identity(pipe, tmp_path / "ada.safetensors", "ada")
    assert all(torch.equal(t, before[name]) for name, t in pipe.generator.state_dict().items())
    stored, name = load_file(tmp_path / "ada.safetensors"), "to_image.weight"
    assert torch.equal(stored[name], before[name] + cast.deltas[name])


def test_one_of_several_is_chosen(pipe: PTIPipeline, cast: Personalization, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no identity is loaded"):
        export_identity(pipe, tmp_path / "g.pt")
    pipe.load_personalization(cast)
    with pytest.raises(InputError, match="there are ada, bob; choose one of them by name: --identity ada"):
        export_identity(pipe, tmp_path / "g.pt")
    with pytest.raises(InputError, match="no identity 'eve' is loaded; there are: ada, bob"):
        export_identity(pipe, tmp_path / "g.pt", "eve")
    with pytest.raises(InputError, match=r"ends in '.bin'; expected .safetensors, .pt, .onnx or .html"):
        export_identity(pipe, tmp_path / "g.bin", "ada")
    assert not list(tmp_path.iterdir())


def test_a_page_says_what_it_lacks_before_it_measures(
    pipe: PTIPipeline, cast: Personalization, perceptual: object, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    pipe.load_personalization(cast)
    with pytest.raises(MissingDependencyError, match=r"has no ort.jspi.min.js; run: npm install onnxruntime-web"):
        export_identity(pipe, tmp_path / "ada.html", "ada", tmp_path)
    other = PTIPipeline(network("skip"), pipe.perceptual)
    other.load_personalization(Personalization({}, {"ada": other.generator.w_avg.clone()}, other.base))
    with pytest.raises(InputError, match=r"a StyleGAN2 takes minutes .* in a browser; export ada.onnx instead"):
        export_identity(other, tmp_path / "ada.html", None, tmp_path)


def test_sliders_have_the_strengths_of_this_face(pipe: PTIPipeline, cast: Personalization) -> None:
    vector = pipe.edits["smile"].vector  # type: ignore[union-attr]
    brightness = Measure("bright", "brightness", "", 0.0, lambda picture, _: float(np.asarray(picture).mean()))
    pipe.edits = {
        "plain": Direction("plain", vector),
        "bright": Direction("bright", vector, step=Step(brightness, 1.0)),
        "still": Direction("still", vector, step=Step(Measure("none", "nothing", "", 0.0, lambda *_: 1.0), 1.0)),
    }
    plain, bright, still = measure_sliders(pipe, cast, "ada")
    assert (plain.name, bright.name, still.name) == ("plain", "bright", "still")
    assert not any(still.vectors.values())
    assert plain.vectors == {-2.0: -2.0, -1.0: -1.0, 0.0: 0.0, 1.0: 1.0, 2.0: 2.0}
    for strength in (-1.0, 2.0):
        applied = pipe(cast, edit=("bright", strength)).edits[0][0]
        assert applied.strength == bright.vectors[strength]  # type: ignore[union-attr]


def test_on_the_command_line(
    pipe: PTIPipeline,
    cast: Personalization,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pipe.save_pretrained(tmp_path / "tiny")
    cast.save_pretrained(tmp_path / "cast")
    arguments = ("export", "--model", tmp_path / "tiny", tmp_path / "cast", tmp_path / "g.safetensors")
    assert run(monkeypatch, *arguments) == 1
    assert "there are ada, bob" in capsys.readouterr().err
    assert run(monkeypatch, *arguments, "--identity", "bob") == 0
    told = capsys.readouterr().out
    assert "whoever has this file can make pictures of bob; it holds the tuned weights, and no photograph" in told
    assert torch.equal(load_file(tmp_path / "g.safetensors")["pivot"], cast.pivots["bob"].expand(8, -1))
    assert run(monkeypatch, "export", tmp_path / "tiny", tmp_path / "g.safetensors") == 0
    assert "pivot" not in load_file(tmp_path / "g.safetensors")
    assert run(monkeypatch, "export", tmp_path / "tiny", tmp_path / "g.html") == 1
    assert "no identity is loaded" in capsys.readouterr().err
