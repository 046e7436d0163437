"""What the official PTI code tuned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.foreign_files import write_nvidia
from support.golden import golden
from torch import nn

from pti_hub import InputError, Personalization, PTIPipeline
from pti_hub.pipelines.convert import convert

pytestmark = pytest.mark.usefixtures("random_lpips")


def test_what_the_official_code_tuned_becomes_a_personalisation(tmp_path: Path) -> None:
    convert(write_nvidia(tmp_path / "ffhq.pkl", "skip"), tmp_path / "base")
    base = PTIPipeline.from_pretrained(tmp_path / "base", device="cpu")
    tensors = {k.removeprefix("weights/"): t for k, t in golden("skip").items() if k.startswith("weights/")}
    random = torch.Generator().manual_seed(0)
    tuned = {
        k: t + 0.1 * torch.randn(t.shape, generator=random) if k.startswith("synthesis") and k.endswith("weight") else t
        for k, t in tensors.items()
    }
    model = write_nvidia(tmp_path / "model_ABCD_ada.pt", "skip", tuned, alone=True)
    torch.save(golden("skip")["w"][:1, None].repeat(1, 6, 1), tmp_path / "0.pt")
    torch.save(nn.Parameter(golden("skip")["ws"][:1]), tmp_path / "1.pt")
    pivots = {"ada": tmp_path / "0.pt", "bob": tmp_path / "1.pt"}
    assert convert(model, tmp_path / "ada", base=base, pivots=pivots) == "a tuned generator of ada, bob"
    personalization = Personalization.from_pretrained(tmp_path / "ada")
    assert personalization.pivots["ada"].shape == (12,)
    assert personalization.pivots["bob"].shape == (6, 12)
    base.load_personalization(personalization)
    convert(write_nvidia(tmp_path / "tuned.pkl", "skip", tuned), tmp_path / "tuned")
    whole = PTIPipeline.from_pretrained(tmp_path / "tuned", device="cpu").generator
    weights = {name: p + personalization.deltas.get(name, 0) for name, p in base.generator.named_parameters()}
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(weights[name], parameter)
    with pytest.raises(InputError, match="belong together"):
        convert(model, tmp_path / "none", base=base)
    with pytest.raises(InputError, match="other weights than the base"):
        convert(write_nvidia(tmp_path / "o.pt", "orig", alone=True), tmp_path / "none", base=base, pivots=pivots)
    assert not (tmp_path / "none").exists()
