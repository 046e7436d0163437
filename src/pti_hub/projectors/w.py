"""Projection into W: the latent and noise whose picture is nearest to a target (Eq. 1)."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pti_hub.checkpoints.hub import reading
from pti_hub.generators import Generator, tuned_synthesis
from pti_hub.loops import (
    DIVERGED,
    LoopState,
    StepCallback,
    adam_state,
    check_hyper_parameters,
    check_target,
    learning_rate_factor,
    mixed_precision,
    restore_adam,
    reused_memory,
)
from pti_hub.perceptual import LPIPS
from pti_hub.projectors.protocol import Projection

_CHECK_INTERVAL = 25


@dataclass(frozen=True)
class WProjectorConfig:
    """Hyper-parameters of Eq. 1; the defaults reach the paper's schedule's quality in a fraction of its steps.

    Attributes:
        num_steps: Steps of Adam.
        learning_rate: Its peak.
        beta1: Its β₁, how long a gradient is remembered.
        beta2: Its β₂, the same of squared gradients.
        rampup: Share of the steps over which the rate rises from 0.
        rampdown: Share of the steps over which it falls back to 0, along a cosine.
        noise_factor: Standard deviation of the noise added to w, in units of `w_std`.
        noise_ramp: Share of the steps after which that noise has vanished.
        noise_weight: λ_n, weight of the noise maps' regularisation.
        resolution: Height and width at which the pictures are compared, in pixels.
        early: Whether a generator that sums its picture up over resolutions, StyleGAN2, may stop there. That costs a
            fraction; but what it leaves out is then missing from the pictures that are compared.
    """

    num_steps: int = 100
    learning_rate: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.999
    rampup: float = 0.05
    rampdown: float = 0.25
    noise_factor: float = 0.05
    noise_ramp: float = 0.75
    noise_weight: float = 1e5
    resolution: int = 256
    early: bool = False

    def __post_init__(self) -> None:
        check_hyper_parameters(self, ("num_steps", "learning_rate", "noise_ramp", "resolution"), ("beta1", "beta2"))

    @classmethod
    def paper(cls) -> WProjectorConfig:
        """Section 4.5: Karras et al.'s values [19] but for the rate, 450 steps."""
        return cls(num_steps=450, learning_rate=5e-3)


class WProjector:
    """Optimises one w and the noise maps, the generator frozen (Eq. 1; Karras et al. 2020, appendix D).

    Args:
        config: Hyper-parameters.
    """

    config_class = WProjectorConfig

    def __init__(self, config: WProjectorConfig | None = None) -> None:
        self.config = config or WProjectorConfig()
        # What to lower if it diverges.
        self._pace = f"learning_rate={self.config.learning_rate:g}"

    def project(
        self,
        generator: Generator,
        perceptual: LPIPS,
        target: Tensor,
        seed: int = 0,
        on_step: StepCallback | None = None,
        state: LoopState | None = None,
    ) -> Projection:
        """The pivot with its noise maps; see `Projector.project`."""
        cfg = self.config
        check_target(generator, target)
        device = generator.w_avg.device
        size = min(cfg.resolution, generator.resolution)
        asked = size if cfg.early or not generator.stops_early else generator.resolution
        random = torch.Generator().manual_seed(seed)

        # 1. The target's features, once.
        with mixed_precision(device):
            features = perceptual.target_features(F.interpolate(target, size=(size, size), mode="area"))

        # 2. Start with new noise; θ is constant.
        theta = {name: p.detach() for name, p in generator.named_parameters()}
        w = self._start(generator).requires_grad_()
        noise = self._noise(generator, random)
        learned_noise = [n for n in noise if n.requires_grad]
        optimizer = self._optimizer(w, learned_noise)
        learned = {"w": w} | {f"noise.{i}": n for i, n in enumerate(learned_noise)}
        best, best_distance, first = w.detach().clone(), math.inf, 0
        if state is not None and (before := state.read()):
            with reading(state.path, "delete it, and the projection begins anew"):
                first, best_distance = int(before["step"]), before["best_distance"].item()
                random.set_state(before["random"])
                with torch.no_grad():
                    best.copy_(before["best"])
                    for name, tensor in learned.items():
                        tensor.copy_(before[name])
                restore_adam(optimizer, before)

        with reused_memory():
            for step in range(first, cfg.num_steps):
                if state is not None and step > first and step % state.every == 0:
                    state.write(
                        {
                            "step": torch.tensor(step),
                            "best": best,
                            "best_distance": torch.tensor(best_distance, dtype=torch.float64),
                            "random": random.get_state(),
                            **learned,
                            **adam_state(optimizer),
                        }
                    )
                t = step / cfg.num_steps
                optimizer.param_groups[0]["lr"] = cfg.learning_rate * learning_rate_factor(t, cfg.rampup, cfg.rampdown)

                # 3. A perturbed w, so that the basin found is a wide one.
                spread = generator.w_std * cfg.noise_factor * max(0.0, 1 - t / cfg.noise_ramp) ** 2
                w_near = w + torch.randn(w.shape, generator=random).to(device) * spread

                # 4. L_LPIPS(x, G(w, n)) + λ_n L_n(n)
                with mixed_precision(device):
                    picture = tuned_synthesis(generator, theta, w_near, noise=noise, resolution=asked)
                    if asked != size:
                        picture = F.interpolate(picture, size=(size, size), mode="area")
                    distance = perceptual(picture, features).sum()
                loss = distance + cfg.noise_weight * noise_regularization(learned_noise)
                if step % _CHECK_INTERVAL == 0 or step == cfg.num_steps - 1:
                    # Waits for the device, hence seldom.
                    if not (seen := distance.item()) <= DIVERGED * best_distance:
                        warnings.warn(
                            f"projection diverged at step {step} of {cfg.num_steps}: distance {seen:.3g}, best "
                            f"{best_distance:.3g}; the best w is kept; lower {self._pace}",
                            RuntimeWarning,
                            stacklevel=2,
                        )
                        return Projection(best, [n.detach() for n in generator.noise_maps()])
                    if seen < best_distance:
                        best_distance = seen
                        best.copy_(w.detach())
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

                # 5. Noise stays noise: zero mean, unit variance.
                normalize_noise(learned_noise)
                if on_step is not None:
                    on_step(step, {"lpips": distance.detach()})
        if not torch.isfinite(w).all():
            # Too late for the last look to see it.
            warnings.warn(
                f"projection ended in NaN; the best w is kept; lower {self._pace}", RuntimeWarning, stacklevel=2
            )
            return Projection(best, [n.detach() for n in generator.noise_maps()])
        return Projection(w.detach(), [n.detach() for n in noise])

    def _start(self, generator: Generator) -> Tensor:
        return generator.w_avg[None].float().clone()

    def _noise(self, generator: Generator, random: torch.Generator) -> list[Tensor]:
        drawn = [torch.randn(n.shape, generator=random) for n in generator.noise_maps()]
        return [n.to(generator.w_avg.device).requires_grad_() for n in drawn]

    def _optimizer(self, w: Tensor, noise: list[Tensor]) -> torch.optim.Optimizer:
        cfg = self.config
        return torch.optim.Adam([w, *noise], lr=cfg.learning_rate, betas=(cfg.beta1, cfg.beta2), fused=True)


def noise_regularization(noise: list[Tensor]) -> Tensor:
    """L_n: squared auto-correlation at lag one, along both axes and at every scale down to 8² (Karras et al. 2020, D).

    Args:
        noise: Maps `[1, 1, H, W]`; none of a generator without noise.

    Returns:
        A scalar.
    """
    loss = noise[0].new_zeros(()) if noise else torch.zeros(())
    for n in noise:
        while True:
            loss = loss + (n * n.roll(1, 3)).mean().square() + (n * n.roll(1, 2)).mean().square()
            if n.shape[2] <= 8:
                break
            n = F.avg_pool2d(n, 2)
    return loss


@torch.no_grad()
def normalize_noise(noise: list[Tensor]) -> None:
    """Bring each map to zero mean and unit variance, in place."""
    for n in noise:
        n -= n.mean()
        n *= n.square().mean().rsqrt()
