"""Pivotal tuning: weights near the generator's with which pivots give their photographs (Eq. 2, 3, 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pti_hub.errors import InputError
from pti_hub.generators import Generator, tuned_synthesis
from pti_hub.loops import StepCallback, check_hyper_parameters, check_target, mixed_precision, reused_memory
from pti_hub.perceptual import LPIPS
from pti_hub.tuners.locality import locality_loss


@dataclass(frozen=True)
class PivotalTunerConfig:
    """Hyper-parameters of Eq. 2; the defaults are section 4.5's but for the number of steps.

    Attributes:
        num_steps: Steps of Adam at the most, an image.
        learning_rate: Its rate.
        lpips_weight: λ_LPIPS.
        l2_weight: λ_L2.
        lpips_threshold: Leave a photograph alone once its distance is below this; stop when all are.
        locality_weight: λ_R, weight of the locality regularisation (Eq. 7), for one photograph; 0 leaves it out.
        shared_locality_weight: λ_R where several photographs share a generator, and would spoil each other's place.
        locality_alpha: α, distance from the pivot at which the original picture is asked for (Eq. 4).
        locality_l2_weight: λ^R_L2.
        locality_samples: N_r, codes drawn a step.
        check_interval: Rounds between two looks at the losses; only there weights are kept and the threshold is tested,
            so that an accelerator is not waited for in between.
    """

    num_steps: int = 120
    learning_rate: float = 3e-4
    lpips_weight: float = 1.0
    l2_weight: float = 1.0
    lpips_threshold: float = 0.06
    locality_weight: float = 0.0
    shared_locality_weight: float = 0.1
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
        metrics: `"lpips"` and `"mse"` of each G(w_i; θ*), pixel values in [-1, 1].
        num_steps: Turns taken, over all photographs.
    """

    deltas: dict[str, Tensor]
    metrics: list[dict[str, float]]
    num_steps: int


class PivotalTuner:
    """Tunes a copy of the generator's weights around fixed pivots (Eq. 2, 3), the rest held in place (Eq. 7).

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
        pivots: Sequence[Tensor],
        targets: Sequence[Tensor],
        seed: int = 0,
        on_step: StepCallback | None = None,
    ) -> Tuning:
        """Learn one θ* for one or many pivots.

        Most rounds take a step for each photograph that is not good enough yet, so those that lag get more of them.
        Every `check_interval` rounds one step is taken on the mean over all (Eq. 3), and the losses that come with it,
        all of the same weights, decide which weights are kept and who is done.

        Args:
            generator: G with weights θ; left as it is.
            perceptual: Distance of Eq. 2.
            pivots: w_i, each `[1, w_dim]` or `[1, num_ws, w_dim]`; constant.
            targets: x_i, each `[1, 3, R, R]` in [-1, 1], R the generator's resolution.
            seed: Seed of the order of photographs and of the codes drawn for the locality regularisation.
            on_step: Called after each photograph's turn with its number and its metrics, as tensors.

        Returns:
            The best weights seen at a check, as differences.

        Raises:
            InputError: A target's shape is not the generator's, or there are not as many pivots as targets.
        """
        cfg = self.config
        if not targets or len(pivots) != len(targets):
            raise InputError(f"{len(pivots)} pivots and {len(targets)} targets; give one pivot a target")
        for target in targets:
            check_target(generator, target)
        device, count = targets[0].device, len(targets)
        locality_weight = cfg.locality_weight if count == 1 else cfg.shared_locality_weight
        random = torch.Generator().manual_seed(seed)
        with mixed_precision(device):
            features = [perceptual.target_features(target) for target in targets]
        theta = {
            name: p.detach().float().clone().requires_grad_()
            for name, p in generator.named_parameters()
            if not name.startswith("mapping_network.")
        }
        optimizer = torch.optim.Adam(theta.values(), lr=cfg.learning_rate, fused=True)
        best, best_loss = dict(theta), float("inf")
        waiting = list(range(count))
        turns = 0

        def accumulate(i: int, share: float) -> tuple[Tensor, Tensor, Tensor]:
            # 1. L_LPIPS(x_i, x_i^p) + λ_L2 L_L2(x_i, x_i^p) with x_i^p = G(w_i; θ*), and λ_R L_R where it is asked for.
            picture = tuned_synthesis(generator, theta, pivots[i])
            with mixed_precision(device):
                lpips = perceptual(picture, features[i]).mean()
            mse = F.mse_loss(picture, targets[i])
            loss = cfg.lpips_weight * lpips + cfg.l2_weight * mse
            (share * loss).backward()
            for _ in range(cfg.locality_samples if locality_weight else 0):
                loss_r = locality_loss(
                    generator, theta, perceptual, pivots[i], random, cfg.locality_alpha, cfg.locality_l2_weight
                )
                (share * locality_weight / cfg.locality_samples * loss_r).backward()
            return loss.detach(), lpips.detach(), mse.detach()

        def take_step(*seen: tuple[Tensor, Tensor, Tensor]) -> None:
            nonlocal turns
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            for _, lpips, mse in seen:
                if on_step is not None:
                    on_step(turns, {"lpips": lpips, "mse": mse})
                turns += 1

        with reused_memory():
            for step in range(cfg.num_steps + 1):
                last = step == cfg.num_steps
                if last or step % cfg.check_interval == 0:
                    # 2. Now and then a step on the mean of all: keep the best weights, go on with who is not done.
                    seen = [accumulate(i, 1 / count) for i in range(count)]
                    losses, distances, _ = (torch.stack(values).tolist() for values in zip(*seen, strict=True))
                    if (mean := sum(losses) / count) < best_loss:
                        best_loss = mean
                        best = {name: p.detach().clone() for name, p in theta.items()}
                    waiting = [i for i in range(count) if not distances[i] < cfg.lpips_threshold]
                    if last or not waiting:
                        break
                    take_step(*seen)
                else:
                    # 3. In between a step for each of them.
                    for k in torch.randperm(len(waiting), generator=random).tolist():
                        take_step(accumulate(waiting[k], 1.0))

        # 4. The pictures as θ + Δ gives them, which is what a saved personalisation will give again, bit for bit.
        original = dict(generator.named_parameters())
        deltas = {name: (p - original[name]).detach().cpu() for name, p in best.items()}
        theta = add_deltas(generator, deltas)
        metrics = []
        with torch.no_grad():
            for pivot, target in zip(pivots, targets, strict=True):
                picture = tuned_synthesis(generator, theta, pivot)
                lpips, mse = perceptual(picture, target).item(), F.mse_loss(picture, target).item()
                metrics.append({"lpips": lpips, "mse": mse})
        return Tuning(deltas, metrics, turns)


def add_deltas(generator: Generator, deltas: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """θ* = θ + Δ by parameter name, on the generator's device."""
    original = dict(generator.named_parameters())
    return {name: original[name].detach() + d.to(original[name].device) for name, d in deltas.items()}
