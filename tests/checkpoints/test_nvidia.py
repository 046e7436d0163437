"""NVIDIA's StyleGAN2-ADA and StyleGAN3 pickles, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.foreign_files import write_nvidia
from support.golden import CASES, golden, network

from pti_hub import PTIPipeline
from pti_hub.checkpoints.nvidia import export_nvidia
from pti_hub.pipelines.convert import convert

pytestmark = pytest.mark.usefixtures("random_lpips")


@CASES
def test_a_pickle_of_nvidias_becomes_a_pipeline(case: str, tmp_path: Path) -> None:
    found = convert(write_nvidia(tmp_path / "network-ffhq.pkl", case), tmp_path / "pipe")
    assert found.startswith("StyleGAN3, 16² px, 8 ws" if case in "tr" else "StyleGAN2, ")
    pipe = PTIPipeline.from_pretrained(tmp_path / "pipe", device="cpu")
    tensors = golden(case)
    picture = pipe.generator.synthesis(tensors["ws"])
    assert (picture - tensors["img"]).norm() < 1e-5 * tensors["img"].norm()
    w = pipe.generator.mapping(tensors["z"], c=tensors["c"] if pipe.generator.c_dim else None)  # type: ignore[call-arg]
    torch.testing.assert_close(w, tensors["w"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pipe.generator.w_avg, tensors["weights/mapping.w_avg"])
    assert 0 < pipe.generator.w_std != 1
    assert pipe.aligns_faces  # its name says ffhq
    assert pipe.origins[0]["origin"] == "converted from network-ffhq.pkl"


@CASES
def test_export_is_what_was_imported(case: str) -> None:
    made, tensors = network(case), golden(case)
    exported = export_nvidia(made)
    theirs = {k.removeprefix("weights/"): t for k, t in tensors.items() if k.startswith("weights/")}
    assert exported.keys() == theirs.keys()
    for name, tensor in exported.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-5, atol=1e-6)
