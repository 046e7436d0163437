"""StyleCLIP's mappers."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.foreign_files import rosinality_state
from support.places import GOLDEN

from pti_hub import InputError, PTIPipeline
from pti_hub.edits import LatentMapper, MapperEdit
from pti_hub.pipelines.convert import convert


@pytest.mark.parametrize("case", ["levels", "single"])
def test_a_mapper_computes_what_its_authors_code_does(case: str, tmp_path: Path, pipe: PTIPipeline) -> None:
    parts = {"levels": ["mapper.course_mapping", "mapper.fine_mapping"], "single": ["mapper.mapping"]}[case]
    # Its file holds the generator it was trained with as well.
    state = {f"decoder.{name}": t for name, t in rosinality_state(8).items()}
    for name in (f"{part}.mapping.{i}.{kind}" for part in parts for i in range(1, 5) for kind in ("weight", "bias")):
        random = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        shape = (512, 512) if name.endswith("weight") else (512,)
        state[name] = 100 * torch.randn(shape, generator=random)
    torch.save({"state_dict": state, "opts": {"mapper_type": "LevelsMapper"}}, tmp_path / "purple_hair.pt")
    assert convert(tmp_path / "purple_hair.pt", tmp_path / "mapper") == "a latent mapper of StyleCLIP"
    mapper = LatentMapper.from_pretrained(tmp_path / "mapper")
    ws = torch.randn(2, 18, 512, generator=torch.Generator().manual_seed(0))
    expected = load_file(GOLDEN / "mapper.safetensors")[case]
    torch.testing.assert_close(MapperEdit(mapper).apply(ws)[:, :, ::8], expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="a mapper of w_dim=512 was given ws"):
        pipe.parse(mapper)
