"""Networks from a configuration and a file of weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.hub_server import HubServer
from torch import Tensor, nn

from pti_hub import WeightsError
from pti_hub.edits import LatentMapper
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


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", None),
        ("config.json", b"\xff"),
        ("config.json", b"["),
        ("config.json", b"[" * 100_000),
        ("config.json", b"[1]"),
        ("config.json", b'{"levels": [[]]}'),
        ("config.json", b'{"levels": ["fine"], "w_dim": 8, "depth": 1, "more": 1}'),
        ("config.json", b'{"levels": ["fine"], "w_dim": 9, "depth": 1}'),
        ("config.json", b'{"levels": ["fine"], "w_dim": 1e300}'),
        ("config.json", json.dumps({"levels": ["\ud800\x00\n" * 99] * 200}).encode()),
        ("model.safetensors", None),
        ("model.safetensors", b""),
        ("model.safetensors", b"\x80\x04N."),
    ],
)
def test_a_damaged_network_is_one_short_line(tmp_path: Path, file: str, content: bytes | None) -> None:
    LatentMapper(["fine"], 8, 1).save_pretrained(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(WeightsError, match=r"; save or fetch it again$") as caught:
        LatentMapper.from_pretrained(tmp_path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600


def test_a_network_comes_from_the_hub_without_what_else_is_there(hub: HubServer, tmp_path: Path) -> None:
    mapper = LatentMapper(["fine"], 8, 1, "made here")
    mapper.save_pretrained(tmp_path / "mapper")
    files = {path.name: path.read_bytes() for path in (tmp_path / "mapper").iterdir()}
    hub.add("you/mapper", {**files, "pytorch_model.bin": b"", "other/model.safetensors": b""})
    loaded = LatentMapper.from_pretrained("you/mapper")
    assert loaded.provenance == "made here" and not loaded.training
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in mapper.state_dict().items())
    assert not any("pytorch_model" in line or "other" in line for line in hub.requests)
    hub.add("you/damaged", {**files, "config.json": b"{}"})
    with pytest.raises(WeightsError, match="does not fit its config"):
        LatentMapper.from_pretrained("you/damaged")
    with pytest.raises(WeightsError, match="the Hub has none of this name that you may see"):
        LatentMapper.from_pretrained("you/nobody")
