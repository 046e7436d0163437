"""Generators for other people's code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from support.golden import golden, network

from pti_hub import InputError
from pti_hub.checkpoints.export import Person, export
from pti_hub.checkpoints.nvidia import export_nvidia
from pti_hub.generators import Generator, MobileStyleGAN

KINDS = pytest.mark.parametrize("kind", ["mobile", "skip", "t"])


def tuned(kind: str, generator: MobileStyleGAN) -> tuple[Generator, Person]:
    """A network of a kind, its weights changed, and a pivot that is not the mean of W."""
    made: Any = generator if kind == "mobile" else network(kind)
    random = torch.Generator().manual_seed(4)
    made.requires_grad_(False)
    for parameter in made.parameters():
        parameter += 0.02 * torch.randn(parameter.shape, generator=random)
    pivot = made.w_avg + 0.3 * torch.randn(made.num_ws, made.w_dim, generator=random)
    return made, Person("Ada", pivot, [{"part": "generator", "licence": "free"}])


def run_graph(file: Path, inputs: dict[str, Any]) -> tuple[np.ndarray, dict[str, str]]:
    """What a graph computes, and its metadata."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    if "pivot" in about:
        inputs = {"ws": np.array(json.loads(about["pivot"]), np.float32)[None], **inputs}
    return session.run(["image"], inputs)[0], about


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_export_is_nvidias_state_dict(tmp_path: Path, suffix: str) -> None:
    export(network("resnet"), tmp_path / f"g{suffix}")
    state = torch.load(tmp_path / "g.pt") if suffix == ".pt" else load_file(tmp_path / "g.safetensors")
    expected = export_nvidia(network("resnet"))  # compared with theirs in test_nvidia
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)
    assert [path.name for path in tmp_path.iterdir()] == [f"g{suffix}"]


@pytest.mark.parametrize("case", ["skip", "t"])
def test_export_to_onnx_computes_the_same(case: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    made, tensors = network(case), golden(case)
    export(made, tmp_path / "g.onnx")
    picture, about = run_graph(tmp_path / "g.onnx", {"ws": tensors["ws"][:1].numpy()})
    np.testing.assert_allclose(picture, tensors["img"][:1].numpy(), rtol=1e-3, atol=1e-4)
    assert "pivot" not in about


@KINDS
def test_a_graph_of_a_person_gives_the_person(kind: str, generator: MobileStyleGAN, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    made, person = tuned(kind, generator)
    export(made, tmp_path / "ada.onnx", person)
    picture, about = run_graph(tmp_path / "ada.onnx", {})
    np.testing.assert_allclose(picture, made.synthesis(person.pivot[None]).numpy(), atol=1e-4)
    assert about["name"] == "Ada"
    assert (int(about["num_ws"]), int(about["w_dim"])) == tuple(person.pivot.shape)
    assert json.loads(about["origins"]) == list(person.origins)


@KINDS
def test_tensors_of_a_person_hold_the_pivot(kind: str, generator: MobileStyleGAN, tmp_path: Path) -> None:
    made, person = tuned(kind, generator)
    for name in ("ada.pt", "ada.safetensors"):
        export(made, tmp_path / name, person)
    state = torch.load(tmp_path / "ada.pt", weights_only=True)
    assert torch.equal(state["pivot"], person.pivot)
    assert all(torch.equal(state[name], t) for name, t in load_file(tmp_path / "ada.safetensors").items())
    with safe_open(tmp_path / "ada.safetensors", "pt") as file:
        assert (file.metadata()["name"], file.metadata()["generator"]) == ("Ada", type(made).__name__)
    if kind == "mobile":
        again = MobileStyleGAN(z_dim=16, w_dim=16, channels=(16, 16, 8, 8), mapping_layers=2)
        pivot = state.pop("pivot")
        again.load_state_dict(state)
        assert torch.equal(again.synthesis(pivot[None]), made.synthesis(person.pivot[None]))


def test_one_w_is_exported_for_every_layer(generator: MobileStyleGAN, tmp_path: Path) -> None:
    export(generator, tmp_path / "ada.safetensors", Person("ada", generator.w_avg))
    assert torch.equal(load_file(tmp_path / "ada.safetensors")["pivot"], generator.w_avg.expand(8, -1))


def test_export_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Linear was given; expected a MobileStyleGAN, StyleGAN2 or StyleGAN3"):
        export(torch.nn.Linear(1, 1), tmp_path / "g.pt")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"the folder .*none of .* doesn't exist"):
        export(network("orig"), tmp_path / "none" / "g.pt")
    with pytest.raises(InputError, match=r"ends in '.bin'; expected .safetensors, .pt or .onnx"):
        export(network("orig"), tmp_path / "g.bin")
