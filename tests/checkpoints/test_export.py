"""Generators for other people's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.golden import golden, network

from pti_hub import InputError
from pti_hub.checkpoints.export import export
from pti_hub.checkpoints.nvidia import export_nvidia


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
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    made, tensors = network(case), golden(case)
    export(made, tmp_path / "g.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx")
    (picture,) = session.run(None, {"ws": tensors["ws"][:1].numpy()})
    np.testing.assert_allclose(picture, tensors["img"][:1].numpy(), rtol=1e-3, atol=1e-4)


def test_export_of_something_else(tmp_path: Path, generator: Any) -> None:
    with pytest.raises(InputError, match="MobileStyleGAN was given; expected a StyleGAN2"):
        export(generator, tmp_path / "g.pt")
    with pytest.raises(InputError, match=r"the folder .*none of .* doesn't exist"):
        export(network("orig"), tmp_path / "none" / "g.pt")
    with pytest.raises(InputError, match=r"ends in '.bin'; expected .safetensors, .pt or .onnx"):
        export(network("orig"), tmp_path / "g.bin")
