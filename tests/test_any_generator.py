"""The whole method on generators of other architectures, with nothing that knows faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from support.golden import CASES, network
from support.needs import needs_lpips
from torch import Tensor

from pti_hub import PivotalTuner, PivotalTunerConfig, PTIPipeline, WProjector, WProjectorConfig
from pti_hub.generators import StyleGAN2, tuned_synthesis
from pti_hub.images import to_tensor
from pti_hub.perceptual import LPIPS


def quick(pipe: PTIPipeline) -> PTIPipeline:
    pipe.projector = WProjector(WProjectorConfig(num_steps=3, resolution=16))
    pipe.tuner = PivotalTuner(PivotalTunerConfig(num_steps=4, check_interval=2, lpips_threshold=0.0))
    pipe.set_progress_bar_config(disable=True)
    return pipe


@CASES
def test_a_bare_generator_becomes_a_pipeline(case: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = network(case)
    made.w_avg = torch.zeros_like(made.w_avg)
    pipe = quick(PTIPipeline.from_generator(made, name="cats", perceptual=TinyDistance(), device="cpu"))
    assert not pipe.aligns_faces
    assert pipe.generator.w_avg.any()
    assert pipe.generator.w_std != 1
    photograph = torch.rand(3, made.resolution, made.resolution) * 2 - 1
    before = {name: p.clone() for name, p in made.named_parameters()}
    out = pipe(photograph, edit=["pc0", "sefa1=2", "mix:seed3=0.5", "s:2_0=3"])
    assert out.images[0].size == (made.resolution, made.resolution)
    assert out.images[0] != out.reconstruction[0]
    assert all(torch.equal(p, before[name]) for name, p in made.named_parameters())
    assert any(delta.any() for delta in out.personalization.deltas.values())
    cast = pipe.personalize({"tom": photograph, "kit": -photograph})
    pipe.load_personalization(cast)
    assert pipe("kit", edit="pc1").images[0] != pipe("tom", edit="pc1").images[0]


class TinyDistance(LPIPS):
    """LPIPS on pictures too small for its network, enlarged."""

    def __init__(self) -> None:
        super().__init__("alex")

    def target_features(self, image: Tensor) -> Any:
        return super().target_features(enlarged(image))

    def forward(self, image: Tensor, target: Any) -> Tensor:
        return super().forward(enlarged(image), enlarged(target) if isinstance(target, Tensor) else target)


def enlarged(image: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(image, size=64, mode="bilinear")


def test_saved_with_any_architecture(tmp_path: Path, perceptual: LPIPS) -> None:
    for case in ("resnet", "r"):
        pipe = quick(PTIPipeline.from_generator(network(case), perceptual=perceptual, device="cpu"))
        pipe.save_pretrained(tmp_path / case)
        again = PTIPipeline.from_pretrained(tmp_path / case, device="cpu")
        w = pipe.generator.w_avg[None]
        assert torch.equal(again.generator.synthesis(w), pipe.generator.synthesis(w))
        assert again.base == pipe.base


@needs_lpips
def test_pivotal_tuning_finds_what_a_stylegan2_painted() -> None:
    torch.manual_seed(0)
    made = StyleGAN2(256, channel_base=4096)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "to_image.weight" in name:
                parameter.mul_(0.15)  # so that pictures lie in [-1, 1]
            if "noise_strength" in name:
                parameter.fill_(0.05)
    random = torch.Generator().manual_seed(1)
    hidden = made.mapping(torch.randn(1, 512, generator=random))
    perturbed = {
        name: p + 0.02 * (p.std() if p.numel() > 1 else 0) * torch.randn(p.shape, generator=random)
        for name, p in made.named_parameters()
    }
    with torch.no_grad():
        painted = tuned_synthesis(made, perturbed, hidden)[0].clamp(-1, 1)
    pipe = PTIPipeline.from_generator(made, name="random", device="cpu")
    pipe.set_progress_bar_config(disable=True)
    pipe.projector = WProjector(WProjectorConfig(num_steps=40))
    pipe.tuner = PivotalTuner(PivotalTunerConfig(num_steps=40, lpips_threshold=0.05))
    out = pipe(painted)
    projected = pipe.perceptual(to_tensor(out.projection[0], 256), painted[None]).item()
    assert out.metrics[0]["lpips"] < 0.05 < projected < pipe.perceptual(torch.zeros(1, 3, 256, 256), painted[None])
