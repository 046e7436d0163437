"""Other people's single directions, from files that are not trusted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.directions import vector
from support.foreign_files import Hostile
from torch import Tensor

from pti_hub.checkpoints.directions import load_direction
from pti_hub.errors import WeightsError


def write(path: Path, tensor: Tensor) -> Path:
    if path.suffix == ".npy":
        np.save(path, tensor.numpy())
    else:
        torch.save(tensor, path)
    return path


@pytest.mark.parametrize("shape", [(512,), (1, 512), (1, 1, 512)])
@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_w(shape: tuple[int, ...], suffix: str, tmp_path: Path) -> None:
    direction = load_direction(write(tmp_path / f"age{suffix}", vector(*shape)))
    assert (direction.name, direction.space) == ("age", "W")
    assert torch.equal(direction.vector, vector(*shape).flatten())


@pytest.mark.parametrize("shape", [(18, 512), (1, 18, 512), (16, 512)])
@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_w_plus_keeps_first_layers(shape: tuple[int, ...], suffix: str, tmp_path: Path) -> None:
    direction = load_direction(write(tmp_path / f"x{suffix}", vector(*shape)))
    assert (direction.name, direction.space) == ("x", "W+")
    assert torch.equal(direction.vector, vector(*shape).reshape(-1, 512)[:16])


def test_same_layers_are_one(tmp_path: Path) -> None:
    path = write(tmp_path / "age.pt", vector(512).expand(1, 18, 512).clone())
    assert torch.equal(load_direction(path).vector, vector(512))


def test_other_types(tmp_path: Path) -> None:
    for tensor in (vector(512).double(), torch.nn.Parameter(vector(512))):
        torch.save(tensor, tmp_path / "age.pt")
        direction = load_direction(tmp_path / "age.pt")
        assert torch.equal(direction.vector, vector(512))
        assert not direction.vector.requires_grad


@pytest.mark.parametrize("shape", [(511,), (17, 512), (2, 18, 512), (512, 18), ()])
def test_wrong_shape(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="shape"):
        load_direction(write(tmp_path / "x.npy", vector(*shape)))


def test_too_few_layers(tmp_path: Path) -> None:
    path = write(tmp_path / "x.npy", vector(18, 512))
    assert load_direction(path, num_ws=18).vector.shape == (18, 512)
    with pytest.raises(WeightsError, match="num_ws=20"):
        load_direction(path, num_ws=20)


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_no_direction(value: float, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no direction"):
        load_direction(write(tmp_path / "x.npy", torch.full((512,), value)))


def test_code_is_not_run(tmp_path: Path) -> None:
    torch.save(Hostile(tmp_path / "ran"), tmp_path / "x.pt")
    np.save(tmp_path / "x.npy", np.array([Hostile(tmp_path / "ran")], dtype=object), allow_pickle=True)
    for name in ("x.pt", "x.npy"):
        with pytest.raises(WeightsError, match="can't be read safely") as caught:
            load_direction(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [{"age": vector(512)}, [vector(512)], torch.arange(512)])
def test_not_a_tensor_of_numbers(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match="expected one tensor"):
        load_direction(tmp_path / "x.pt")


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_truncated_anywhere(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"x{suffix}", vector(512))
    whole = path.read_bytes()
    for size in [0, 1, 5, 10, 100, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="can't be read safely") as caught:
            load_direction(path)
        assert "\n" not in str(caught.value)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="can't be read"):
        load_direction(tmp_path / "none.npy")
