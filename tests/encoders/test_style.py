"""The encoders of pSp and e4e."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from support.golden import encoder_photograph, golden_encoder
from support.places import GOLDEN

from pti_hub.encoders import StyleEncoder


@pytest.mark.parametrize("kind", ["psp", "w"])
def test_an_encoder_computes_what_its_authors_code_does(kind: str) -> None:
    encoder = StyleEncoder(10, kind)  # type: ignore[arg-type]
    encoder.load_state_dict(golden_encoder(encoder))
    with torch.no_grad():
        ws = encoder.eval()(encoder_photograph())[0]
    torch.testing.assert_close(ws, load_file(GOLDEN / "encoders.safetensors")[kind], rtol=1e-4, atol=1e-4)
