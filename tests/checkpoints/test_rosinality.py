"""rosinality's StyleGAN2 files."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.golden import rosinality_shapes, seeded
from support.places import GOLDEN

from pti_hub.checkpoints.rosinality import load_rosinality, rosinality_weights
from pti_hub.checkpoints.unpickling import read_torch_file


@pytest.mark.parametrize("zipped", [True, False])
def test_rosinalitys_file_computes_what_his_code_does(tmp_path: Path, zipped: bool) -> None:
    weights, tensors = seeded(rosinality_shapes()), load_file(GOLDEN / "rosinality.safetensors")
    content = {
        "g_ema": {**weights, "convs.0.conv.blur.kernel": torch.ones(4, 4)},
        "args": argparse.Namespace(size=16, n_sample=64),
        "latent_avg": torch.arange(8.0),
    }
    torch.save(content, tmp_path / "550000.pt", _use_new_zipfile_serialization=zipped)
    found = rosinality_weights(read_torch_file(tmp_path / "550000.pt"))
    assert found is not None
    generator = load_rosinality(*found)
    torch.testing.assert_close(generator.mapping(tensors["z"]), tensors["w"], rtol=1e-4, atol=1e-4)
    picture = generator.synthesis(tensors["ws"])
    assert (picture - tensors["img"]).norm() < 1e-5 * tensors["img"].norm()
    assert torch.equal(generator.w_avg, torch.arange(8.0))
