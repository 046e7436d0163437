"""Encoders: the light network, asking it and refining its answer, teaching it to invert a generator."""

from __future__ import annotations

import dataclasses
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
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from pti_hub import InputError, PTIPipeline, WProjector
from pti_hub.encoders import LightEncoder, shipped_encoder
from pti_hub.encoders.light import SHIPPED
from pti_hub.errors import WeightsError
from pti_hub.generators import Generator, MobileStyleGAN, StyleGAN2, w_statistics
from pti_hub.images import to_tensor
from pti_hub.optim import GradientPreconditioner, LoopCheckpoint, NaturalGradientDescent
from pti_hub.perceptual import LPIPS
from pti_hub.projectors import REFINED, EncoderProjector, EncoderProjectorConfig, MeanProjector

EXAMPLE = Path(__file__).parents[1] / "examples" / "train_encoder.py"


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


def tiny_encoder(space: str = "w", resolution: int = 64, num_axes: int = 0) -> LightEncoder:
    torch.manual_seed(5)
    encoder = LightEncoder(16, 8, space, resolution, num_axes).eval()  # type: ignore[arg-type]
    if num_axes:
        encoder.preconditioner = GradientPreconditioner.of(torch.randn(50, 16) * torch.linspace(3, 0.1, 16), num_axes)
    return encoder


# The network


@given(st.integers(64, 260), st.sampled_from(["w", "w+"]))
def test_it_takes_pictures_of_any_size_it_was_made_for(resolution: int, space: str) -> None:
    encoder = tiny_encoder(space, resolution)
    with torch.no_grad():
        found = encoder(torch.zeros(2, 3, resolution, resolution))
    assert found.shape == ((2, 16) if space == "w" else (2, 8, 16))


def test_w_plus_begins_as_w() -> None:
    encoder = tiny_encoder("w+")
    with torch.no_grad():
        ws = encoder(torch.rand(2, 3, 64, 64) * 2 - 1)
    torch.testing.assert_close(ws, ws[:, :1].expand_as(ws))
    assert (ws[0] - ws[1]).abs().max() > 1e-4


@pytest.mark.parametrize(
    "wrong", [{"space": "z"}, {"resolution": 20}, {"num_ws": 1}, {"w_dim": 0}, {"w_dim": 10**6}, {"num_axes": 600}]
)
def test_an_encoder_that_can_not_be(wrong: dict[str, Any]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(InputError, match=f"{name}={value!r}"):
        LightEncoder(**wrong)


def test_the_shipped_one_is_small() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 8e6
    encoder = shipped_encoder()
    assert encoder(torch.zeros(1, 3, 192, 192)).shape == (1, 512)
    assert encoder.preconditioner is not None
    torch.testing.assert_close(
        encoder.preconditioner.axes @ encoder.preconditioner.axes.T, torch.eye(96), atol=2e-3, rtol=0
    )
    assert encoder.preconditioner.sensitivity.sort(descending=True).values.equal(encoder.preconditioner.sensitivity)


def test_a_damaged_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pti_hub.encoders.light.SHIPPED", tmp_path)
    with pytest.raises(WeightsError, match="missing or damaged; install pti-hub anew"):
        shipped_encoder()


# Asking it


def distance(generator: Generator, perceptual: LPIPS, pivot: torch.Tensor, target: torch.Tensor) -> float:
    with torch.no_grad():
        return perceptual(generator.synthesis(pivot), target).item()


def test_the_pivot_is_what_the_encoder_says(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: torch.Tensor
) -> None:
    encoder = tiny_encoder(resolution=128)
    found = EncoderProjector(encoder).project(generator, perceptual, photograph[None])
    with torch.no_grad():
        expected = encoder(photograph[None].repeat_interleave(2, 2).repeat_interleave(2, 3))
    torch.testing.assert_close(found.pivot, expected)
    assert found.noise == []


@pytest.mark.parametrize("space", ["w", "w+"])
@pytest.mark.parametrize("num_axes", [0, 8])
def test_refining_brings_the_picture_nearer(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: torch.Tensor, space: str, num_axes: int
) -> None:
    encoder, target = tiny_encoder(space, num_axes=num_axes), photograph[None]
    encoder.w_avg += 2
    steps: list[int] = []
    alone = EncoderProjector(encoder).project(generator, perceptual, target)
    config = EncoderProjectorConfig(refine_steps=12, resolution=64, learning_rate=0.1)
    refined = EncoderProjector(encoder, config).project(
        generator, perceptual, target, on_step=lambda step, metrics: steps.append(step)
    )
    assert refined.pivot.shape == alone.pivot.shape
    assert steps == list(range(12)) and config.num_steps == 12
    before, after = (distance(generator, perceptual, found.pivot, target) for found in (alone, refined))
    assert after < 0.98 * before


@pytest.mark.parametrize("space", ["w", "w+"])
def test_with_a_metric_steps_are_natural(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: torch.Tensor, space: str
) -> None:
    encoder, target = tiny_encoder(space, num_axes=8), photograph[None]
    alone = EncoderProjector(encoder).project(generator, perceptual, target).pivot
    config = EncoderProjectorConfig(refine_steps=1, resolution=64, step_length=0.3)
    refined = EncoderProjector(encoder, config).project(generator, perceptual, target)
    moved = (refined.pivot - alone).square().sum(-1).mean().sqrt()
    torch.testing.assert_close(moved, 0.3 * generator.w_std)
    assert all(torch.equal(one, two) for one, two in zip(refined.noise, generator.noise_maps(), strict=True))
    damped = dataclasses.replace(config, damping=1e6)
    other = EncoderProjector(encoder, damped).project(generator, perceptual, target).pivot
    assert torch.cosine_similarity(refined.pivot - alone, other - alone, dim=-1).max() < 0.95


@pytest.mark.parametrize("num_axes", [0, 8])
def test_refining_goes_on_after_a_kill(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: torch.Tensor, tmp_path: Path, num_axes: int
) -> None:
    projector = EncoderProjector(tiny_encoder(num_axes=num_axes), EncoderProjectorConfig(refine_steps=8, resolution=64))
    whole = projector.project(generator, perceptual, photograph[None], seed=3)

    def killed(step: int, metrics: Any) -> None:
        if step == 5:
            raise KeyboardInterrupt

    state = LoopCheckpoint(tmp_path / "state.safetensors", every=2)
    with pytest.raises(KeyboardInterrupt):
        projector.project(generator, perceptual, photograph[None], seed=3, on_step=killed, checkpoint=state)
    again = projector.project(generator, perceptual, photograph[None], seed=3, checkpoint=state)
    assert torch.equal(again.pivot, whole.pivot)


def test_diverging_is_noticed_at_the_last_step(
    generator: MobileStyleGAN, perceptual: LPIPS, photograph: torch.Tensor
) -> None:
    encoder = tiny_encoder()
    found = EncoderProjector(encoder).project(generator, perceptual, photograph[None]).pivot
    config = EncoderProjectorConfig(refine_steps=20, resolution=64, learning_rate=1e4)
    with pytest.warns(RuntimeWarning, match="projection diverged at step 19 of 20"):
        refined = EncoderProjector(encoder, config).project(generator, perceptual, photograph[None])
    assert torch.equal(refined.pivot, found)


@pytest.mark.parametrize(
    "wrong",
    [
        {"refine_steps": -1},
        {"refine_steps": 2.5},
        {"learning_rate": 0},
        {"beta2": 1.0},
        {"damping": 0.0},
        {"step_length": -1.0},
    ],
)
def test_hyper_parameters_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"EncoderProjectorConfig: {next(iter(wrong))}="):
        EncoderProjectorConfig(**wrong)


# Natural gradients


def test_a_metric_s_axes_are_those_of_the_gradients() -> None:
    basis = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0))).Q
    scale = torch.tensor([3.0, 0.5, 2.0, 0.1, 1.0, 0.0])
    gradients = torch.cat([scale.diag(), -scale.diag()]) @ basis
    metric = GradientPreconditioner.of(torch.cat([gradients, torch.full((1, 6), torch.nan)]), 4)
    torch.testing.assert_close(metric.sensitivity, torch.tensor([9.0, 4.0, 1.0, 0.25]) / 9)
    expected = basis[[0, 2, 4, 1]]
    torch.testing.assert_close((metric.axes @ expected.T).abs(), torch.eye(4), atol=1e-5, rtol=0)


@given(st.floats(1e-3, 10), st.integers(0, 100))
def test_natural_is_against_the_damped_metric(damping: float, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    gradients = torch.randn(40, 12, generator=random) * torch.linspace(3, 0.1, 12)
    metric = GradientPreconditioner.of(gradients, 12)
    g = torch.randn(2, 12, generator=random)
    second_moment = gradients.T @ gradients / 40
    damped = second_moment + damping * torch.linalg.eigvalsh(second_moment)[-1] * torch.eye(12)
    expected = torch.linalg.solve(damped, g.T).T
    torch.testing.assert_close(F.normalize(metric.natural(g, damping)), F.normalize(expected), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(1, 12), (1, 5, 12)])
def test_a_step_is_as_long_as_its_rate(shape: tuple[int, ...]) -> None:
    w = torch.zeros(shape, requires_grad=True)
    metric = GradientPreconditioner.of(torch.randn(20, 12, generator=torch.Generator().manual_seed(0)), 6)
    optimizer = NaturalGradientDescent(w, metric, lr=0.7, damping=0.1)
    torch.randn(shape, generator=torch.Generator().manual_seed(1)).mul(w).sum().backward()
    optimizer.step()
    torch.testing.assert_close(w.square().sum(-1).mean().sqrt(), torch.tensor(0.7))
    w.grad = torch.zeros(shape)
    before = w.detach().clone()
    optimizer.step()
    assert torch.equal(w, before)


@pytest.mark.parametrize("gradients", [torch.zeros(5, 4), torch.full((5, 4), torch.inf)])
def test_a_metric_of_nothing(gradients: torch.Tensor) -> None:
    with pytest.raises(InputError, match="5 gradients, all of them zero or not finite"):
        GradientPreconditioner.of(gradients, 2)


def test_a_metric_of_another_encoder() -> None:
    with pytest.raises(InputError, match=r"a preconditioner of \[8, 16\]; expected \[4, 16\]: make .* num_axes=8"):
        tiny_encoder(num_axes=4).preconditioner = GradientPreconditioner(torch.eye(8, 16), torch.ones(8))


def test_until_it_has_a_metric_the_gradient_is_the_plain_one() -> None:
    metric = LightEncoder(16, 8, resolution=64, num_axes=4).preconditioner
    assert metric is not None
    g = torch.randn(1, 16)
    assert torch.equal(metric.natural(g, 0.01), g)


def test_natural_steps_cross_a_narrow_valley() -> None:
    curvature = torch.logspace(0, -3, 12)

    def left(optimizer: Any, w: torch.Tensor) -> float:
        for step in range(20):
            optimizer.param_groups[0]["lr"] = 0.5 * (1 - step / 20)
            optimizer.zero_grad()
            (curvature * (w - 1).square()).sum().backward()
            optimizer.step()
        return (w - 1).norm().item()

    ways = []
    for damping in (1e-3, 1e6):
        w = torch.zeros(1, 12, requires_grad=True)
        ways.append(left(NaturalGradientDescent(w, GradientPreconditioner(torch.eye(12), curvature), 0.5, damping), w))
    # As much damping as that leaves the plain gradient.
    assert ways[0] < 0.2 < 1.5 < ways[1]


# In a pipeline


def test_auto_takes_the_encoder_where_there_is_one(pipe: PTIPipeline) -> None:
    bare = PTIPipeline(pipe.generator, pipe.perceptual)
    assert isinstance(bare.projector, WProjector)
    assert bare.encoder is None
    bare.encoder = tiny_encoder()
    assert isinstance(bare.projector, WProjector)
    bare.projector = "auto"
    assert isinstance(bare.projector, EncoderProjector)
    assert bare.projector.config.refine_steps == 25
    given = PTIPipeline(pipe.generator, pipe.perceptual, encoder=tiny_encoder())
    assert isinstance(given.projector, EncoderProjector)
    given.set_preset("paper")
    assert isinstance(given.projector, WProjector)
    given.set_preset("default")
    assert isinstance(given.projector, EncoderProjector)
    with pytest.raises(InputError, match="projector='fast'; expected 'auto'"):
        given.projector = "fast"  # type: ignore[assignment]


def test_an_encoder_that_is_set_is_the_one_that_is_asked(pipe: PTIPipeline) -> None:
    first, second = tiny_encoder(), tiny_encoder()
    pipe.projector = EncoderProjector(first, EncoderProjectorConfig(refine_steps=3))
    assert pipe.encoder is first
    pipe.encoder = second
    assert isinstance(pipe.projector, EncoderProjector)
    assert pipe.projector.encoder is pipe.encoder is second
    assert pipe.projector.config.refine_steps == 3
    pipe.projector.encoder = first
    pipe.projector = "auto"
    assert pipe.encoder is first
    pipe.set_preset("paper")
    pipe.set_preset("default")
    assert pipe.encoder is first
    pipe.encoder = None
    assert isinstance(pipe.projector, WProjector)
    assert pipe.encoder is None
    pipe.projector = None
    assert isinstance(pipe.projector, WProjector)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_it_is_saved_with_the_pipeline(pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path, space: str) -> None:
    config = EncoderProjectorConfig(refine_steps=2, resolution=64)
    pipe.projector = EncoderProjector(tiny_encoder(space, num_axes=8), config)
    pipe.save_pretrained(tmp_path / "saved")
    loaded = PTIPipeline.from_pretrained(tmp_path / "saved", device="cpu")
    assert isinstance(loaded.projector, EncoderProjector)
    assert loaded.projector.config == config
    assert torch.equal(loaded.invert(photograph).pivot, pipe.invert(photograph).pivot)


def test_an_encoder_that_waits_is_saved_too(pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path) -> None:
    pipe.encoder = tiny_encoder()
    pipe.save_pretrained(tmp_path / "saved")
    loaded = PTIPipeline.from_pretrained(tmp_path / "saved", device="cpu")
    assert isinstance(loaded.projector, WProjector)
    loaded.projector = "auto"
    assert isinstance(loaded.projector, EncoderProjector)


def test_the_default_pipeline_asks_its_encoder(real_pipe: PTIPipeline) -> None:
    data = pytest.importorskip("skimage.data")
    pipe = PTIPipeline.from_pretrained(real_pipe.name, device="cpu")
    assert isinstance(pipe.projector, EncoderProjector)
    assert pipe.projector.config == REFINED
    target = to_tensor(pipe.prepare(Image.fromarray(data.astronaut())), pipe.generator.resolution)
    perceptual = pipe.projector_perceptual
    mean = MeanProjector().project(pipe.generator, perceptual, target).pivot
    alone = EncoderProjector(shipped_encoder()).project(pipe.generator, perceptual, target).pivot
    small = F.interpolate(target, size=(256, 256), mode="area")
    with torch.no_grad():
        near, far = (perceptual(pipe.generator.synthesis(w, resolution=256), small).item() for w in (alone, mean))
    assert near < 0.95 * far


# Teaching it


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
    monkeypatch.setattr(example, "aligned", lambda *_: example.to_bytes(photograph[None]))
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
    step = example.Teacher._step

    def killed(self: Any, network: Any, number: int) -> Any:
        if number == 13:
            raise KeyboardInterrupt
        return step(self, network, number)

    monkeypatch.setattr(example.Teacher, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        teach(example, tmp_path / "killed", folder, **options)
    monkeypatch.setattr(example.Teacher, "_step", step)
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
    found = example.aligned(pipe, str(tmp_path), None, 64)
    assert torch.equal(found, example.to_bytes(to_tensor(picture, 64)))
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match="holds no photograph that can be used"):
        example.aligned(pipe, str(tmp_path), None, 64)
