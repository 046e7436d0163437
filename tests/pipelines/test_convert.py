"""Other people's files: what they become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.foreign_files import write_nvidia
from support.golden import golden, rosinality_shapes, seeded

from pti_hub import InputError, WeightsError
from pti_hub.edits.catalogue import load_edits
from pti_hub.pipelines.convert import convert

pytestmark = pytest.mark.usefixtures("random_lpips")


def test_directions_become_edits(tmp_path: Path) -> None:
    torch.save(
        {"comp": torch.eye(512)[:3], "mean": torch.zeros(512), "std": torch.tensor([3.0, 2, 1])}, tmp_path / "p.pt"
    )
    assert convert(tmp_path / "p.pt", tmp_path / "pca") == "3 directions"
    assert torch.equal(load_edits(tmp_path / "pca")["component1"].vector, 2 * torch.eye(512)[1])
    torch.save(torch.ones(1, 512), tmp_path / "age.pt")
    assert convert(tmp_path / "age.pt", tmp_path / "age") == "1 direction"
    assert list(load_edits(tmp_path / "age")) == ["age"]
    torch.save(torch.randn(1, 14, 512), tmp_path / "layers.pt")
    convert(tmp_path / "layers.pt", tmp_path / "layers")
    assert load_edits(tmp_path / "layers")["layers"].vector.shape == (14, 512)
    np.save(tmp_path / "smile.npy", np.ones((1, 512), np.float32))
    convert(tmp_path / "smile.npy", tmp_path / "smile")
    assert list(load_edits(tmp_path / "smile")) == ["smile"]


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    tensors = {k.removeprefix("weights/"): t for k, t in golden("skip").items() if k.startswith("weights/")}
    without = {k: t for k, t in tensors.items() if k != "synthesis.b8.conv0.affine.bias"}
    other = tensors | {"synthesis.b8.torgb.weight": torch.zeros(3, 7, 1, 1)}
    broken = tensors | {"synthesis.b4.const": torch.full((12, 4, 4), torch.nan)}
    filtered = tensors | {"synthesis.b8.resample_filter": torch.ones(4, 4) / 16}
    for i, (changed, message) in enumerate(
        [
            (without, r"g\.pkl: the tensor synthesis\.b8\.conv0\.affine\.bias is missing"),
            (other, r"synthesis\.b8\.torgb\.weight has shape \[3, 7, 1, 1\]; expected \[3, 12, 1, 1\]"),
            (broken, r"synthesis\.b4\.const holds values that are not finite"),
            (filtered, r"another filter than \[1, 3, 3, 1\]"),
        ]
    ):
        with pytest.raises(WeightsError, match=message):
            convert(write_nvidia(tmp_path / "g.pkl", "skip", changed), tmp_path / f"out{i}")
        assert not (tmp_path / f"out{i}").exists()
    weights = seeded({k: v for k, v in rosinality_shapes().items() if k != "convs.1.conv.weight"})
    torch.save({"g_ema": weights}, tmp_path / "r.pt")
    with pytest.raises(WeightsError, match=r"convs\.1\.conv\.weight' is missing"):
        convert(tmp_path / "r.pt", tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, "none of the known kinds: NVIDIA's"),
        ({"state_dict": {"encoder.input_layer.0.weight": torch.zeros(1)}}, "is missing"),
        (torch.zeros(7, 512), "its values are all zero"),
        (torch.zeros(7, 7), r"holds an array of shape \[7, 7\]; expected \[512\]"),
        (torch.zeros(2, 2, 2), r"holds an array of shape \[2, 2, 2\]; expected"),
        ({"comp": torch.zeros(()), "std": torch.zeros(2)}, r"components of shape \[\]"),
        ({"comp": "x", "std": torch.zeros(2)}, "does not hold what it should"),
        ({"g_ema": {"conv1.conv.modulation.weight": None}}, "does not hold what it should|is missing"),
        ({3: {"a": 1}}, "none of the known kinds"),
        ([1, 2], "none of the known kinds"),
    ],
)
def test_a_file_of_another_kind(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "x.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_file_and_no_place(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pt can't be read: No such file"):
        convert(tmp_path / "none.pt", tmp_path / "out")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    with pytest.raises(InputError, match="holds something else"):
        convert(write_nvidia(tmp_path / "g.pkl", "orig"), tmp_path / "letters")
