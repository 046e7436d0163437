"""Projection into W: the latent and noise whose picture is nearest to a target (Eq. 1)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pti_hub.generators import Generator, tuned_synthesis
from pti_hub.optim import (
    LoopCheckpoint,
    LoopState,
    StepCallback,
    check_hyper_parameters,
    check_target,
    learning_rate_factor,
    mixed_precision,
    reused_memory,
)
from pti_hub.perceptual import LPIPS
from pti_hub.projectors.protocol import Projection

_CHECK_INTERVAL = 25


@dataclass(frozen=True)
class WProjectorConfig:
    """Hyper-parameters of Eq. 1; the defaults reach the paper's schedule's quality in a fraction of its steps.

    Attributes:
        num_steps: Number of Adam's steps.
        learning_rate: Adam's peak learning rate.
        beta1: Adam's β₁, the decay of the mean of gradients.
        beta2: Adam's β₂, the decay of the mean of squared gradients.
        rampup: Share of the steps over which the learning rate rises from 0.
        rampdown: Share of the steps over which the learning rate falls back to 0, along a cosine.
        noise_factor: Standard deviation of the noise added to w, in units of `w_std`.
        noise_ramp: Share of the steps after which the noise added to w has vanished.
        noise_weight: λ_n, weight of the noise maps' regularisation.
        resolution: Height and width at which the pictures are compared, in pixels.
        early: Whether a generator that sums its picture up over resolutions, StyleGAN2, may stop at that resolution.
            A step then costs a fraction, but the pictures that are compared lack what the finer layers add.
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
        # What a user can lower if the loop diverges.
        self._rate_setting = f"learning_rate={self.config.learning_rate:g}"

    def project(
        self,
        generator: Generator,
        perceptual: LPIPS,
        target: Tensor,
        seed: int = 0,
        on_step: StepCallback | None = None,
        checkpoint: LoopCheckpoint | None = None,
    ) -> Projection:
        """The pivot with its noise maps; see `Projector.project`."""
        cfg = self.config
        check_target(generator, target)
        random = torch.Generator().manual_seed(seed)
        # 1. The target's features, once.
        distance_to = _distance(cfg, generator, perceptual, target)
        # 2. Start with new noise; θ is constant.
        w = self._start(generator).requires_grad_()  # [1, w_dim] or [1, num_ws, w_dim]
        noise = self._noise(generator, random)
        learned_noise = [n for n in noise if n.requires_grad]
        optimizer = self._optimizer(w, learned_noise)
        learned = {"w": w} | {f"noise.{i}": n for i, n in enumerate(learned_noise)}
        state = LoopState(learned, optimizer, random)
        (first,) = state.resume(checkpoint, "step")
        with reused_memory():
            for step in range(first, cfg.num_steps):
                if checkpoint is not None and step > first and step % checkpoint.every == 0:
                    state.write(checkpoint, step=step)
                t = step / cfg.num_steps
                optimizer.param_groups[0]["lr"] = cfg.learning_rate * learning_rate_factor(t, cfg.rampup, cfg.rampdown)
                # 3. A perturbed w, so that the basin found is a wide one.
                spread = generator.w_std * cfg.noise_factor * max(0.0, 1 - t / cfg.noise_ramp) ** 2
                w_near = w + torch.randn(w.shape, generator=random).to(w.device) * spread
                # 4. L_LPIPS(x, G(w, n)) + λ_n L_n(n)
                distance, picture = distance_to(w_near, noise)
                loss = distance + cfg.noise_weight * noise_regularization(learned_noise)
                if step % _CHECK_INTERVAL == 0 or step == cfg.num_steps - 1:
                    # Waits for the device, hence seldom.
                    seen = distance.item()
                    if state.has_diverged(seen):
                        what = f"diverged at step {step} of {cfg.num_steps}: distance {seen:.3g}, best "
                        return self._best(generator, state, f"{what}{state.best_loss:.3g}")
                    state.offer(seen)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                # 5. Noise stays noise: zero mean, unit variance.
                normalize_noise(learned_noise)
                if on_step is not None:
                    on_step(step, {"lpips": distance.detach(), "picture": picture.detach()})
        if not torch.isfinite(w).all():
            # The last step came after the last check.
            return self._best(generator, state, "ended in NaN")
        return Projection(w.detach(), [n.detach() for n in noise])

    def _best(self, generator: Generator, state: LoopState, problem: str) -> Projection:
        """The best w of a loop that went wrong, with a warning."""
        warnings.warn(
            f"projection {problem}; the best w is kept; lower {self._rate_setting}", RuntimeWarning, stacklevel=3
        )
        return Projection(state.best["w"], [n.detach() for n in generator.noise_maps()])

    def _start(self, generator: Generator) -> Tensor:
        return generator.w_avg[None].float().clone()

    def _noise(self, generator: Generator, random: torch.Generator) -> list[Tensor]:
        drawn = [torch.randn(n.shape, generator=random) for n in generator.noise_maps()]
        return [n.to(generator.w_avg.device).requires_grad_() for n in drawn]

    def _optimizer(self, w: Tensor, noise: list[Tensor]) -> torch.optim.Optimizer:
        cfg = self.config
        return torch.optim.Adam([w, *noise], lr=cfg.learning_rate, betas=(cfg.beta1, cfg.beta2), fused=True)


def _distance(
    config: WProjectorConfig, generator: Generator, perceptual: LPIPS, target: Tensor
) -> Callable[[Tensor, list[Tensor]], tuple[Tensor, Tensor]]:
    """L_LPIPS(x, G(w, n)) and G(w, n) as a function of w and n, at the configuration's resolution.

    The target's features are computed once.

    Args:
        config: Hyper-parameters.
        generator: G.
        perceptual: LPIPS.
        target: x `[1, 3, R, R]`.
    """
    size = min(config.resolution, generator.resolution)
    rendered = size if config.early or not generator.stops_early else generator.resolution
    device = generator.w_avg.device
    theta = {name: p.detach() for name, p in generator.named_parameters()}
    with mixed_precision(device):
        features = perceptual.target_features(F.interpolate(target, size=(size, size), mode="area"))

    def distance_to(w: Tensor, noise: list[Tensor]) -> tuple[Tensor, Tensor]:
        with mixed_precision(device):
            picture = tuned_synthesis(generator, theta, w, noise=noise, resolution=rendered)
            if rendered != size:
                picture = F.interpolate(picture, size=(size, size), mode="area")
            return perceptual(picture, features).sum(), picture

    return distance_to


def noise_regularization(noise: list[Tensor]) -> Tensor:
    """L_n: squared auto-correlation at lag one, along both axes and at every scale down to 8² (Karras et al. 2020, D).

    Args:
        noise: Maps `[1, 1, H, W]`; an empty list for a generator without noise.

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
