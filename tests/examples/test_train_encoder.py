"""Teaching an encoder to invert a generator."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from support.places import EXAMPLES

from pti_hub import InputError, PTIPipeline
from pti_hub.encoders import LightEncoder
from pti_hub.generators import MobileStyleGAN, StyleGAN2, w_statistics
from pti_hub.images import to_tensor
from pti_hub.projectors import EncoderProjector

EXAMPLE = EXAMPLES / "train_encoder.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    sys.path.insert(0, str(EXAMPLE.parent))
    spec = importlib.util.spec_from_file_location("train_encoder", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where dataclasses look for their annotations.
    sys.modules["train_encoder"] = module
    spec.loader.exec_module(module)
    return module


def part(name: str) -> ModuleType:
    """A module of the example's, which the fixture `example` has made known."""
    return importlib.import_module(f"encoder_training.{name}")


def test_photographs_faults(example: ModuleType, generator: MobileStyleGAN) -> None:
    pictures = torch.rand(64, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 1.8 - 0.9
    pictures = F.interpolate(F.avg_pool2d(pictures, 8), size=(64, 64), mode="bilinear")
    spoilt = part("degradation").degraded(pictures, torch.Generator().manual_seed(2))
    assert spoilt.shape == pictures.shape
    assert spoilt.abs().max() <= 1
    assert torch.equal(spoilt, part("degradation").degraded(pictures, torch.Generator().manual_seed(2)))
    change = (spoilt - pictures).square().mean((1, 2, 3)).sqrt()
    # Some are nearly as they were, none is beyond recognition.
    assert change.min() < 0.01 < change.median() < change.max() < 0.6


def test_pictures_of_which_half_are_crossed(example: ModuleType) -> None:
    w = torch.arange(200.0)[:, None].expand(-1, 3)
    ws = part("samples").crossed(w, 6, torch.Generator().manual_seed(0))
    assert ws.shape == (200, 6, 3)
    assert torch.equal(ws[:, 0], w)
    other = ws[:, -1, 0] != ws[:, 0, 0]
    assert 70 < other.sum() < 130
    assert torch.equal(ws[other, -1], w.roll(1, 0)[other])


def test_pictures_are_whole_where_a_generator_could_stop_early(example: ModuleType) -> None:
    torch.manual_seed(0)
    generator = StyleGAN2(64, z_dim=16, w_dim=16, channels=(16, 16, 16, 8, 8), mapping_layers=2).eval()
    assert generator.stops_early
    w = torch.randn(1, 16)
    with torch.no_grad():
        expected = F.avg_pool2d(generator.synthesis(w), 4)
        torch.testing.assert_close(part("samples").pictured(generator, w, 16), expected)
        assert not torch.allclose(generator.synthesis(w, resolution=16), expected, atol=1e-3)


OPTIONS: dict[str, Any] = {
    "samples": 512,
    "truncation": (0.6, 1.0),
    "size": 64,
    "picture_size": 32,
    "resolution": 64,
    "space": "w",
    "steps": 200,
    "picture_steps": 12,
    "batch_size": 32,
    "picture_share": 0.125,
    "learning_rate": 2e-3,
    "picture_rate": 3e-4,
    "body_rate": 0.5,
    "lpips_weight": 0.1,
    "l2_weight": 1.0,
    "arcface": None,
    "identity_weight": 0.1,
    "offset_weight": 0.1,
    "preconditioner_samples": 64,
    "photographs": None,
    "count": None,
    "half": False,
    "seed": 0,
}


def teach(example: ModuleType, run: Path, folder: Path, **options: Any) -> None:
    example.main(run, **{"model": str(folder), **OPTIONS, **options})


def log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def folder(pipe: PTIPipeline, tmp_path: Path) -> Path:
    pipe.save_pretrained(tmp_path / "pipeline")
    return tmp_path / "pipeline"


def test_it_learns_to_invert_a_generator(example: ModuleType, folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    teach(example, run, folder, half=True)
    rows = log(run)
    assert rows[-1]["w"] < 0.7 * rows[0]["w"]
    assert rows[-1]["train_lpips"] > 0
    assert (run / "curves.png").is_file()
    pipe = PTIPipeline.from_pretrained(folder, device="cpu")
    encoder = LightEncoder.from_pretrained(run / "encoder")
    w = pipe.generator.mapping(torch.randn(20, 16, generator=torch.Generator().manual_seed(77)), truncation=0.8)
    targets = pipe.generator.synthesis(w).clamp(-1, 1)
    found = [EncoderProjector(encoder).project(pipe.generator, pipe.perceptual, t[None]).pivot for t in targets]
    assert (torch.cat(found) - w).norm() < 0.85 * (pipe.generator.w_avg - w).norm()
    # Pictures are more sensitive along the metric's first axes than along its last.
    assert encoder.preconditioner is not None
    shifted = pipe.generator.synthesis(pipe.generator.w_avg + 0.3 * encoder.preconditioner.axes)
    apart = pipe.perceptual(shifted, pipe.generator.synthesis(pipe.generator.w_avg[None]).expand_as(shifted))
    assert apart[:4].mean() > 2 * apart[-4:].mean()


def test_it_learns_to_invert_a_stylegan2(example: ModuleType, pipe: PTIPipeline, tmp_path: Path) -> None:
    torch.manual_seed(3)
    generator = StyleGAN2(64, z_dim=16, w_dim=16, channels=(16, 16, 16, 8, 8), mapping_layers=2).eval()
    generator.w_avg, generator.w_std = w_statistics(generator, num_samples=500)
    PTIPipeline(generator, pipe.perceptual, aligns_faces=False, name="tiny2").save_pretrained(tmp_path / "two")
    teach(example, tmp_path / "run", tmp_path / "two", size=32, picture_size=32)
    rows = log(tmp_path / "run")
    assert rows[-1]["w"] < 0.7 * rows[0]["w"]
    kept = load_file(tmp_path / "run" / "samples" / "000003.safetensors")
    with torch.no_grad():
        whole = F.avg_pool2d(generator.synthesis(kept["w"]), 2).clamp(-1, 1)
        early = generator.synthesis(kept["w"], resolution=32).clamp(-1, 1)
    seen = part("degradation").to_floats(kept["pictures"])
    # Rendered in bfloat16 where the device computes it natively.
    assert 5 * (seen - whole).abs().mean() < (seen - early).abs().mean()


def test_w_plus_stays_close_to_w(
    example: ModuleType, folder: Path, tmp_path: Path, photograph: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part("run"), "aligned", lambda *_: part("degradation").to_bytes(photograph[None]))
    apart = []
    for weight in (0.01, 100.0):
        run = tmp_path / f"run{weight}"
        options = {"samples": 128, "steps": 30, "picture_steps": 4, "offset_weight": weight}
        options["preconditioner_samples"] = 64 if weight < 1 else 0
        teach(example, run, folder, space="w+", photographs="photos", **options)
        with torch.no_grad():
            encoder = LightEncoder.from_pretrained(run / "encoder").eval()
            ws = encoder(photograph[None])
        assert (encoder.preconditioner is None) == (weight > 1)
        apart.append((ws - ws.mean(1, keepdim=True)).norm(dim=2).max().item())
    assert apart[0] > 4 * apart[1] > 0


def test_a_killed_run_goes_on_to_the_same_bits(
    example: ModuleType, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part("teacher"), "LOG_STEPS", 5)
    options = {"samples": 192, "steps": 11, "picture_steps": 6}
    teach(example, tmp_path / "whole", folder, **options)
    step = part("teacher").Teacher._step

    def killed(self: Any, network: Any, number: int) -> Any:
        if number == 13:
            raise KeyboardInterrupt
        return step(self, network, number)

    monkeypatch.setattr(part("teacher").Teacher, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        teach(example, tmp_path / "killed", folder, **options)
    monkeypatch.setattr(part("teacher").Teacher, "_step", step)
    assert not (tmp_path / "killed" / "encoder").exists()
    teach(example, tmp_path / "killed", folder, **options)
    one, two = (LightEncoder.from_pretrained(tmp_path / run / "encoder").state_dict() for run in ("whole", "killed"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    whole, again = ([{**row, "seconds": 0} for row in log(tmp_path / run)] for run in ("whole", "killed"))
    assert [row["step"] for row in whole] == [0, 5, 10, 15, 17]
    assert whole == again
    teach(example, tmp_path / "killed", folder, **options)
    assert [{**row, "seconds": 0} for row in log(tmp_path / "killed")] == whole


def test_two_processes(folder: Path, tmp_path: Path) -> None:
    options = ["--samples", "128", "--size", "64", "--picture-size", "32", "--resolution", "64", "--batch-size", "16"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(EXAMPLE)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    steps = ["--steps", "10", "--picture-steps", "2", "--space", "w+"]
    steps += ["--preconditioner-samples", "128"]
    command = [*launch, str(tmp_path / "run"), "--model", str(folder), *options, *steps]
    subprocess.run(command, check=True, env=environment)
    assert [row["step"] for row in log(tmp_path / "run")] == [0, 12]
    assert LightEncoder.from_pretrained(tmp_path / "run" / "encoder").preconditioner is not None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"space": "z"}, "space='z'"),
        ({"resolution": 8}, "resolution=8"),
        ({"size": 48}, "--size 48; expected 64 divided by a power of two"),
        ({"batch_size": 1024}, "--batch-size 1024 for 1 processes and 512 samples"),
        ({"preconditioner_samples": 40}, "--preconditioner-samples 40; expected 0 or at least 64"),
    ],
)
def test_what_can_not_be_is_said_at_once(
    example: ModuleType, folder: Path, tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        teach(example, tmp_path / "run", folder, **wrong)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_run(example: ModuleType, folder: Path, tmp_path: Path) -> None:
    teach(example, tmp_path / "run", folder, samples=64, steps=1, picture_steps=0)
    with pytest.raises(InputError, match="holds a run with another steps, seed"):
        teach(example, tmp_path / "run", folder, samples=64, steps=2, picture_steps=0, seed=1)


def test_a_damaged_sample(example: ModuleType, folder: Path, tmp_path: Path) -> None:
    options = {"samples": 64, "steps": 1, "picture_steps": 0}
    teach(example, tmp_path / "run", folder, **options)
    (tmp_path / "run" / "state.safetensors").unlink()
    path = tmp_path / "run" / "samples" / "000002.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"000002.safetensors is damaged .*delete it, and it is rendered again"):
        teach(example, tmp_path / "run", folder, **options)
    path.unlink()
    teach(example, tmp_path / "run", folder, **options)


def test_photographs_to_learn_from(example: ModuleType, pipe: PTIPipeline, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    picture = Image.radial_gradient("L").convert("RGB")
    picture.save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    found = part("photographs").aligned(pipe, str(tmp_path), None, 64)
    assert torch.equal(found, part("degradation").to_bytes(to_tensor(picture, 64)))
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match="holds no photograph that can be used"):
        part("photographs").aligned(pipe, str(tmp_path), None, 64)
