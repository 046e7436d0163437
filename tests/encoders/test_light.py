"""The light encoder, and the one that is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.networks import tiny_encoder

from pti_hub import InputError
from pti_hub.encoders import LightEncoder, shipped_encoder
from pti_hub.encoders.light import SHIPPED
from pti_hub.errors import WeightsError
from pti_hub.optim import GradientPreconditioner


@given(st.integers(64, 260), st.sampled_from(["w", "w+"]))
def test_it_takes_pictures_of_any_size_it_was_made_for(resolution: int, space: str) -> None:
    encoder = tiny_encoder(space, resolution)
    with torch.no_grad():
        found = encoder(torch.zeros(2, 3, resolution, resolution))
    assert found.shape == ((2, 16) if space == "w" else (2, 8, 16))


def test_w_plus_begins_as_w() -> None:
    encoder = tiny_encoder("w+")
    with torch.no_grad():
        ws = encoder(torch.rand(2, 3, 64, 64) * 2 - 1)
    torch.testing.assert_close(ws, ws[:, :1].expand_as(ws))
    assert (ws[0] - ws[1]).abs().max() > 1e-4


@pytest.mark.parametrize(
    "wrong", [{"space": "z"}, {"resolution": 20}, {"num_ws": 1}, {"w_dim": 0}, {"w_dim": 10**6}, {"num_axes": 600}]
)
def test_an_encoder_that_can_not_be(wrong: dict[str, Any]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(InputError, match=f"{name}={value!r}"):
        LightEncoder(**wrong)


def test_the_shipped_one_is_small() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 8e6
    encoder = shipped_encoder()
    assert encoder(torch.zeros(1, 3, 192, 192)).shape == (1, 512)
    assert encoder.preconditioner is not None
    torch.testing.assert_close(
        encoder.preconditioner.axes @ encoder.preconditioner.axes.T, torch.eye(96), atol=2e-3, rtol=0
    )
    assert encoder.preconditioner.sensitivity.sort(descending=True).values.equal(encoder.preconditioner.sensitivity)


def test_a_damaged_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pti_hub.encoders.light.SHIPPED", tmp_path)
    with pytest.raises(WeightsError, match="missing or damaged; install pti-hub anew"):
        shipped_encoder()


def test_a_metric_of_another_encoder() -> None:
    with pytest.raises(InputError, match=r"a preconditioner of \[8, 16\]; expected \[4, 16\]: make .* num_axes=8"):
        tiny_encoder(num_axes=4).preconditioner = GradientPreconditioner(torch.eye(8, 16), torch.ones(8))


def test_until_it_has_a_metric_the_gradient_is_the_plain_one() -> None:
    metric = LightEncoder(16, 8, resolution=64, num_axes=4).preconditioner
    assert metric is not None
    g = torch.randn(1, 16)
    assert torch.equal(metric.natural(g, 0.01), g)
