"""Graphs, and their weights in half precision."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from pti_hub import MissingDependencyError
from pti_hub.checkpoints.onnx import halved, to_onnx


def test_halved_weights_take_half_the_space() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    network, x = torch.nn.Linear(256, 256), torch.randn(1, 256)
    model = to_onnx(network, {"x": x}, ["y"])
    small = halved(model)
    assert small.ByteSize() < 0.55 * model.ByteSize()
    exact, rounded = (
        onnxruntime.InferenceSession(m.SerializeToString()).run(None, {"x": x.numpy()})[0] for m in (model, small)
    )
    np.testing.assert_allclose(exact, network(x).detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(rounded, exact, atol=2e-3)
    assert not np.array_equal(rounded, exact)


def test_without_the_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingDependencyError, match=r"onnxscript; install it: pip install 'pti-hub\[onnx\]'"):
        to_onnx(torch.nn.Linear(1, 1), {"x": torch.zeros(1)}, ["y"])
