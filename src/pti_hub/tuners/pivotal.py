"""Pivotal tuning: weights near the generator's with which the pivot gives the photograph (Eq. 2, 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pti_hub.generators import Generator, tuned_synthesis
from pti_hub.loops import StepCallback, check_hyper_parameters, check_target, mixed_precision, reused_memory
from pti_hub.perceptual import LPIPS
from pti_hub.tuners.locality import locality_loss


@dataclass(frozen=True)
class PivotalTunerConfig:
    """Hyper-parameters of Eq. 2; the defaults are section 4.5's but for the number of steps.

    Attributes:
        num_steps: Steps of Adam at the most.
        learning_rate: Its rate.
        lpips_weight: λ_LPIPS.
        l2_weight: λ_L2.
        lpips_threshold: Stop once the distance is below this.
        locality_weight: λ_R, weight of the locality regularisation (Eq. 7); 0 leaves it out.
        locality_alpha: α, distance from the pivot at which the original picture is asked for (Eq. 4).
        locality_l2_weight: λ^R_L2.
        locality_samples: N_r, codes drawn a step.
        check_interval: Steps between two looks at the loss; only there weights are kept and the threshold is tested,
            so that an accelerator is not waited for in between.
    """

    num_steps: int = 120
    learning_rate: float = 3e-4
    lpips_weight: float = 1.0
    l2_weight: float = 1.0
    lpips_threshold: float = 0.06
    locality_weight: float = 0.0
    locality_alpha: float = 30.0
    locality_l2_weight: float = 1.0
    locality_samples: int = 1
    check_interval: int = 5

    def __post_init__(self) -> None:
        above_zero = ("num_steps", "learning_rate", "check_interval", "locality_alpha", "locality_samples")
        check_hyper_parameters(self, above_zero)

    @classmethod
    def paper(cls) -> PivotalTunerConfig:
        """Section 4.5: 350 steps, all of them."""
        return cls(num_steps=350, lpips_threshold=0.0)


@dataclass(frozen=True)
class Tuning:
    """What a tuner learned.

    Attributes:
        deltas: θ* − θ by parameter name, of every weight the picture depends on.
        metrics: `"lpips"` and `"mse"` of G(w_p; θ*), pixel values in [-1, 1].
        num_steps: Steps taken.
    """

    deltas: dict[str, Tensor]
    metrics: dict[str, float]
    num_steps: int


class PivotalTuner:
    """Tunes a copy of the generator's weights around a fixed pivot (Eq. 2), the rest held in place (Eq. 7).

    Args:
        config: Hyper-parameters.
    """

    config_class = PivotalTunerConfig

    def __init__(self, config: PivotalTunerConfig | None = None) -> None:
        self.config = config or PivotalTunerConfig()

    def tune(
        self,
        generator: Generator,
        perceptual: LPIPS,
        pivot: Tensor,
        target: Tensor,
        seed: int = 0,
        on_step: StepCallback | None = None,
    ) -> Tuning:
        """Learn θ* for one pivot.

        Args:
            generator: G with weights θ; left as it is.
            perceptual: Distance of Eq. 2.
            pivot: w_p `[1, w_dim]` or `[1, num_ws, w_dim]`; constant.
            target: x `[1, 3, R, R]` in [-1, 1], R the generator's resolution.
            seed: Seed of the codes drawn for the locality regularisation.
            on_step: Called after each step with its number and its metrics, as tensors.

        Returns:
            The best weights seen at a check or at the end, as differences.

        Raises:
            InputError: The target's shape is not the generator's.
        """
        cfg = self.config
        check_target(generator, target)
        with mixed_precision(target.device):
            features = perceptual.target_features(target)
        theta = {
            name: p.detach().float().clone().requires_grad_()
            for name, p in generator.named_parameters()
            if not name.startswith("mapping_network.")
        }
        optimizer = torch.optim.Adam(theta.values(), lr=cfg.learning_rate, fused=True)
        random = torch.Generator().manual_seed(seed)
        best, best_loss = dict(theta), float("inf")

        with reused_memory():
            for step in range(cfg.num_steps + 1):
                # 1. L_LPIPS(x, x^p) + λ_L2 L_L2(x, x^p) with x^p = G(w_p; θ*)
                picture = tuned_synthesis(generator, theta, pivot)
                with mixed_precision(target.device):
                    lpips = perceptual(picture, features).mean()
                mse = F.mse_loss(picture, target)
                loss = cfg.lpips_weight * lpips + cfg.l2_weight * mse

                # 2. Now and then: keep the best, stop when it is good enough.
                last = step == cfg.num_steps
                if last or step % cfg.check_interval == 0:
                    if loss.item() < best_loss:
                        best_loss = loss.item()
                        best = {name: p.detach().clone() for name, p in theta.items()}
                    if last or lpips.item() < cfg.lpips_threshold:
                        break

                # 3. A step of Adam on θ*, with λ_R L_R where it is asked for.
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                for _ in range(cfg.locality_samples if cfg.locality_weight else 0):
                    loss_r = locality_loss(
                        generator, theta, perceptual, pivot, random, cfg.locality_alpha, cfg.locality_l2_weight
                    )
                    (cfg.locality_weight / cfg.locality_samples * loss_r).backward()
                optimizer.step()
                if on_step is not None:
                    on_step(step, {"lpips": lpips.detach(), "mse": mse.detach()})

        # 4. The picture as θ + Δ gives it, which is what a saved personalisation will give again, bit for bit.
        original = dict(generator.named_parameters())
        deltas = {name: (p - original[name]).detach().cpu() for name, p in best.items()}
        with torch.no_grad():
            picture = tuned_synthesis(generator, add_deltas(generator, deltas), pivot)
            metrics = {
                "lpips": perceptual(picture, target).item(),
                "mse": F.mse_loss(picture, target).item(),
            }
        return Tuning(deltas, metrics, step)


def add_deltas(generator: Generator, deltas: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """θ* = θ + Δ by parameter name, on the generator's device."""
    original = dict(generator.named_parameters())
    return {name: original[name].detach() + d.to(original[name].device) for name, d in deltas.items()}
