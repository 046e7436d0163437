"""Networks from a configuration and a file of weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from pti_hub.storage import load_network, write_json, write_tensors


class Small(nn.Module):
    """Weights that are drawn in every way, and a buffer that no file holds."""

    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear, self.conv = nn.Linear(width, width), nn.Conv2d(3, width, 3)
        self.drawn = nn.Parameter(torch.randn(width))
        self.normal = nn.Parameter(nn.init.normal_(torch.empty(width)))
        self.register_buffer("scale", torch.linspace(0, 1, width), persistent=False)


def test_a_network_has_the_weights_of_its_file(tmp_path: Path) -> None:
    small = Small(5)
    write_json(tmp_path / "config.json", {"width": 5})
    write_tensors(tmp_path / "model.safetensors", small.state_dict())
    loaded = load_network(Small, tmp_path)
    assert loaded.state_dict().keys() == small.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in small.state_dict().items())
    assert torch.equal(loaded.scale, small.scale)
    assert not loaded.training


def test_loading_draws_no_random_weights(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"width": 5})
    write_tensors(tmp_path / "model.safetensors", Small(5).state_dict())
    before = torch.get_rng_state()
    load_network(Small, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
