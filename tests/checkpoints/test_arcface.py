"""ArcFace's weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from support.golden import encoder_photograph, golden_encoder
from support.places import GOLDEN

from pti_hub.encoders import ArcFace
from pti_hub.pipelines.convert import convert


def test_arcface_computes_what_its_authors_code_does(tmp_path: Path) -> None:
    torch.save(golden_encoder(ArcFace()), tmp_path / "model_ir_se50.pth")
    assert convert(tmp_path / "model_ir_se50.pth", tmp_path / "arcface") == "ArcFace, an identity network"
    network = ArcFace.from_pretrained(tmp_path / "arcface").eval()
    with torch.no_grad():
        embedding = network(encoder_photograph())[0]
    torch.testing.assert_close(embedding, load_file(GOLDEN / "encoders.safetensors")["arcface"], rtol=1e-3, atol=1e-4)
