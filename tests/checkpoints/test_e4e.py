"""The checkpoints of e4e and pSp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.foreign_files import rosinality_state
from support.golden import encoder_photograph, golden_encoder
from support.places import GOLDEN

from pti_hub import PTIPipeline, WeightsError
from pti_hub.encoders import StyleEncoder
from pti_hub.pipelines.convert import convert

pytestmark = pytest.mark.usefixtures("random_lpips")


def encoder_file(path: Path) -> Path:
    """A checkpoint as e4e saves it, with the weights of golden/encoders.safetensors."""
    encoder = {f"encoder.{name}": t for name, t in golden_encoder(StyleEncoder(10)).items()}
    encoder.pop("encoder.latent_avg")
    torch.manual_seed(0)
    state = encoder | {f"decoder.{name}": t for name, t in rosinality_state(64).items()}
    opts = {"encoder_type": "Encoder4Editing", "stylegan_size": 64, "start_from_latent_avg": True}
    torch.save({"state_dict": state, "opts": opts, "latent_avg": torch.linspace(-1, 1, 512).repeat(10, 1)}, path)
    return path


def test_e4es_checkpoint_becomes_a_pipeline_with_an_encoder(tmp_path: Path) -> None:
    found = convert(encoder_file(tmp_path / "e4e_ffhq_encode.pt"), tmp_path / "pipe")
    assert found == "StyleGAN2, 64² px, 10 ws with an encoder"
    pipe = PTIPipeline.from_pretrained(tmp_path / "pipe", device="cpu")
    assert isinstance(pipe.encoder, StyleEncoder)
    with torch.no_grad():
        ws = pipe.encoder(encoder_photograph())[0]
    expected = load_file(GOLDEN / "encoders.safetensors")["e4e"] + torch.linspace(-1, 1, 512)
    torch.testing.assert_close(ws, expected, rtol=1e-4, atol=1e-4)
    assert pipe.invert(torch.zeros(3, 64, 64), align=False).pivot.shape == (1, 10, 512)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"encoder_type": "Restyle"}, r"an encoder of type 'Restyle'; expected one of Encoder4Editing"),
        ({"latent_avg": torch.zeros(3, 512)}, {}, r"latent_avg is missing, or not of \[512\] or \[2, 512\] numbers"),
        ({}, {}, r"the tensor input_layer\.0\.weight has shape \[1\]; expected \[64, 3, 3, 3\]"),
    ],
)
def test_an_encoder_that_is_not_whole(
    changes: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    state = {"encoder.input_layer.0.weight": torch.zeros(1)}
    state |= {f"encoder.styles.{i}.linear.bias": torch.zeros(512) for i in (0, 1)}
    content = {"state_dict": state, "opts": options, "latent_avg": torch.zeros(2, 512), **changes}
    torch.save(content, tmp_path / "e4e.pt")
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "e4e.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()
