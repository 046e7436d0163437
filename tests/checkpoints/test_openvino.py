"""MobileStyleGAN's files: imported, they compute what OpenVINO does; damaged ones are named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.needs import needs_mobile_stylegan
from support.places import GOLDEN

from pti_hub import WeightsError
from pti_hub.checkpoints.openvino import load_mobile_stylegan
from pti_hub.generators import MobileStyleGAN


@pytest.fixture(scope="module")
def ffhq() -> MobileStyleGAN:
    return load_mobile_stylegan()


@needs_mobile_stylegan
def test_mapping_agrees_with_openvino(ffhq: MobileStyleGAN) -> None:
    golden = load_file(GOLDEN / "mobilestylegan.safetensors")
    torch.testing.assert_close(ffhq.mapping(golden["z"]), golden["w"], rtol=0, atol=1e-4)


@needs_mobile_stylegan
@pytest.mark.parametrize("batch", [1, 3])
def test_synthesis_agrees_with_openvino(ffhq: MobileStyleGAN, batch: int) -> None:
    golden = load_file(GOLDEN / "mobilestylegan.safetensors")
    picture = torch.cat([ffhq.synthesis(part) for part in golden["w_near"].split(batch)])
    assert picture.shape == (3, 3, 1024, 1024)
    torch.testing.assert_close(picture[:, :, 5::32, 5::32], golden["pixels"], rtol=0, atol=1e-4)


@needs_mobile_stylegan
def test_w_statistics_are_in_the_generator(ffhq: MobileStyleGAN) -> None:
    z = torch.randn(2000, 512, generator=torch.Generator().manual_seed(9))
    w = ffhq.mapping(z)
    assert (w.mean(0) - ffhq.w_avg).norm() < 0.05 * ffhq.w_std
    torch.testing.assert_close((w - ffhq.w_avg).square().sum(1).mean().sqrt(), ffhq.w_std, rtol=0.03, atol=0)


def test_importer_names_the_command_for_a_damaged_file(tmp_path: Path) -> None:
    for part in ("Mapping", "Synthesis"):
        (tmp_path / f"{part}Network.xml").write_text("<net><layers>")
        (tmp_path / f"{part}Network.bin").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"MappingNetwork\.xml is missing or damaged .* pti-hub weights"):
        load_mobile_stylegan(tmp_path)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_importer_refuses_another_network(count: int, tmp_path: Path) -> None:
    layer = '<layer name="a" type="Const"><data element_type="f32" shape="2,512" offset="0" size="4096"/></layer>'
    for part in ("Mapping", "Synthesis"):
        (tmp_path / f"{part}Network.xml").write_text(f"<net><layers>{layer * count}</layers></net>")
        (tmp_path / f"{part}Network.bin").write_bytes(bytes(4096))
    with pytest.raises(WeightsError, match="another network"):
        load_mobile_stylegan(tmp_path)
