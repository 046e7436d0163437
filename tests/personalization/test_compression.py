"""How small the change of the weights gets."""

from __future__ import annotations

import json

import pytest
import torch

from pti_hub.personalization.compression import compress, restore


@pytest.mark.parametrize("shape", [(), (0, 5), (5000,), (4096, 1), (64, 64), (128, 1, 5, 5), (1, 3000)])
@pytest.mark.parametrize("kind", ["noise", "constant", "nearly constant", "zero", "rank one"])
def test_what_is_compressed_is_near(shape: tuple[int, ...], kind: str) -> None:
    random = torch.Generator().manual_seed(0)
    delta = 1e-3 * torch.randn(shape, generator=random)
    if kind == "constant":
        delta = torch.full(shape, 1e-3)
    elif kind == "nearly constant":
        delta = 1e-3 + 1e-3 * delta
    elif kind == "zero":
        delta = torch.zeros(shape)
    elif kind == "rank one" and len(shape) > 1:
        delta = delta[:, :1] * torch.ones(shape)
    stored, record = compress({"x": delta}, "compact")
    found = restore(stored, json.loads(json.dumps(record)))["x"]
    assert found.shape == delta.shape
    assert found.dtype == torch.float32
    if delta.numel():
        # Half a step at most, of 0.75 standard deviations of a row.
        deviation = (delta.flatten(1) if delta.ndim > 1 else delta.reshape(1, -1)).std(1, correction=0).max()
        assert (found - delta).abs().max() <= max(0.38 * deviation, 0.01 * delta.abs().max(), 1e-29)
    again, _ = compress({"x": delta}, "compact")
    assert all(torch.equal(stored[name], again[name]) for name in stored)
