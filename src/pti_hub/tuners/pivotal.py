"""Pivotal tuning: weights near the generator's with which pivots give their photographs (Eq. 2, 3, 7)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from accelerate.utils import reduce
from torch import Tensor

from pti_hub.checkpoints.hub import reading
from pti_hub.errors import InputError
from pti_hub.generators import Generator, broadcast_ws, tuned_synthesis
from pti_hub.loops import (
    DIVERGED,
    LoopState,
    StepCallback,
    adam_state,
    check_hyper_parameters,
    check_target,
    learning_rate_factor,
    mixed_precision,
    place,
    restore_adam,
    reused_memory,
)
from pti_hub.perceptual import LPIPS
from pti_hub.tuners.locality import locality_loss


@dataclass(frozen=True)
class PivotalTunerConfig:
    """Hyper-parameters of Eq. 2; the defaults are section 4.5's but for the number of steps.

    Attributes:
        num_steps: Steps of Adam at the most, an image.
        learning_rate: Its rate.
        rampdown: Share of the steps over which the rates fall to 0, along a cosine; not in the paper. The codes that
            locality draws make gradients noisy, and a large λ_R does harm unless that noise dies away.
        pivot_learning_rate: Its rate for the pivots, which move along with the weights where it is not 0: the paper's
            ablation (Fig. 16 D and F) and Pan et al. (2020), not its method.
        lpips_weight: λ_LPIPS.
        l2_weight: λ_L2.
        lpips_threshold: Leave a photograph alone once its distance is below this; stop when all are.
        locality_weight: λ_R, weight of the locality regularisation (Eq. 7), for one photograph; 0 leaves it out.
        shared_locality_weight: λ_R where several photographs share a generator, and would spoil each other's place.
        locality_alpha: α, distance from the pivot at which the original picture is asked for (Eq. 4).
        locality_l2_weight: λ^R_L2.
        locality_samples: N_r, codes drawn a step.
        batch_size: Photographs a step is taken on the mean of; at least one for each process that shares in.
        check_interval: Rounds between two looks at the losses; only there weights are kept and the threshold is tested,
            so that an accelerator is not waited for in between.
    """

    num_steps: int = 120
    learning_rate: float = 3e-4
    rampdown: float = 0.0
    pivot_learning_rate: float = 0.0
    lpips_weight: float = 1.0
    l2_weight: float = 1.0
    lpips_threshold: float = 0.06
    locality_weight: float = 0.0
    shared_locality_weight: float = 0.1
    locality_alpha: float = 30.0
    locality_l2_weight: float = 1.0
    locality_samples: int = 1
    batch_size: int = 1
    check_interval: int = 5

    def __post_init__(self) -> None:
        counts = ("num_steps", "locality_samples", "batch_size", "check_interval")
        check_hyper_parameters(self, above_zero=(*counts, "learning_rate", "locality_alpha"))

    @classmethod
    def paper(cls) -> PivotalTunerConfig:
        """Section 4.5: 350 steps, all of them."""
        return cls(num_steps=350, lpips_threshold=0.0)


@dataclass(frozen=True)
class Tuning:
    """What a tuner learned.

    Attributes:
        deltas: θ* − θ by parameter name, of every weight the picture depends on.
        pivots: w_i as they were given, or where they moved to.
        metrics: `"lpips"` and `"mse"` of each G(w_i; θ*), pixel values in [-1, 1].
        num_steps: Turns taken, over all photographs.
        stopped: Why it ended before its time, where it diverged.
    """

    deltas: dict[str, Tensor]
    pivots: list[Tensor]
    metrics: list[dict[str, float]]
    num_steps: int
    stopped: str | None = None


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
        state: LoopState | None = None,
        shared: bool = False,
    ) -> Tuning:
        """Learn one θ* for one or many pivots.

        Most rounds take as many steps as there are photographs that are not good enough yet, shared out among these by
        how far they are. Every `check_interval` rounds one step is taken on the mean over all (Eq. 3), and the losses
        that come with it, all of the same weights, decide which weights are kept and who is done. A loss that is no
        number, or ten times the best one, ends the run with a warning and the best weights.

        Args:
            generator: G with weights θ; left as it is.
            perceptual: Distance of Eq. 2.
            pivots: w_i, each `[1, w_dim]` or `[1, num_ws, w_dim]`.
            targets: x_i, each `[1, 3, R, R]` in [-1, 1], R the generator's resolution.
            seed: Seed of the order of photographs and of the codes drawn for the locality regularisation.
            on_step: Called after each photograph's turn with its number and its metrics, as tensors.
            state: Where to keep the run's state, and to go on from where there is one; the result is the same, bit for
                bit.
            shared: Whether all processes that accelerate has started make this call, with the same arguments, and
                share out the photographs of each step; gradients are averaged.

        Returns:
            The best weights seen at a check, as differences.

        Raises:
            InputError: A target's or pivot's shape is not the generator's, or there are not as many of both.
            WeightsError: The kept state is damaged or of another run.
        """
        cfg = self.config
        if not targets or len(pivots) != len(targets):
            raise InputError(f"{len(pivots)} pivots and {len(targets)} targets; give one pivot a target")
        for pivot, target in zip(pivots, targets, strict=True):
            check_target(generator, target)
            if len(broadcast_ws(generator, pivot)) != 1:
                raise InputError(f"pivot of shape {list(pivot.shape)}; expected one latent, [1, …], a target")
        device, count = targets[0].device, len(targets)
        locality_weight = cfg.locality_weight if count == 1 else cfg.shared_locality_weight
        rank, processes = (place().process_index, place().num_processes) if shared else (0, 1)
        random = torch.Generator().manual_seed(seed)
        with mixed_precision(device):
            features = [perceptual.target_features(target) for target in targets]
        theta = {
            name: p.detach().float().clone().requires_grad_()
            for name, p in generator.named_parameters()
            if not name.startswith("mapping_network.")
        }
        ws = [pivot.detach().float().clone() for pivot in pivots]
        groups: list[dict[str, Any]] = [{"params": list(theta.values())}]
        if cfg.pivot_learning_rate:
            groups.append({"params": [w.requires_grad_() for w in ws], "lr": cfg.pivot_learning_rate})
        optimizer = torch.optim.Adam(groups, lr=cfg.learning_rate, fused=True)
        rates = (cfg.learning_rate, cfg.pivot_learning_rate)
        learned = {f"theta.{name}": p for name, p in theta.items()} | {f"w.{i}": w for i, w in enumerate(ws)}
        best = {name: t.detach().clone() for name, t in learned.items()}
        best_loss, stopped = math.inf, None
        waiting, distances = list(range(count)), [1.0] * count
        first = turns = kept = 0

        def accumulate(batch: Sequence[int]) -> Tensor:
            """Gradients of the batch's mean over this process's share of it; its rows of loss, LPIPS and MSE."""
            samples = cfg.locality_samples if locality_weight else 0
            # All processes draw the codes of all, whoever uses them.
            z = torch.randn(len(batch), samples, generator.z_dim, generator=random)
            rows = torch.zeros(len(batch), 3, device=device)
            for k in range(rank, len(batch), processes):
                w, target = ws[batch[k]], targets[batch[k]]
                # 1. L_LPIPS(x_i, x_i^p) + λ_L2 L_L2(x_i, x_i^p) with x_i^p = G(w_i; θ*), and λ_R L_R if asked for.
                picture = tuned_synthesis(generator, theta, w)
                with mixed_precision(device):
                    lpips = perceptual(picture, features[batch[k]]).mean()
                mse = F.mse_loss(picture, target)
                loss = cfg.lpips_weight * lpips + cfg.l2_weight * mse
                (loss / len(batch)).backward()
                for z_r in z[k]:
                    loss_r = locality_loss(
                        generator, theta, perceptual, w.detach(), z_r[None], cfg.locality_alpha, cfg.locality_l2_weight
                    )
                    (locality_weight / samples / len(batch) * loss_r).backward()
                rows[k] = torch.stack([loss.detach(), lpips.detach(), mse.detach()])
            return rows

        def take_step(batch: Sequence[int], rows: Tensor) -> None:
            nonlocal turns
            if processes > 1:
                _sum_gradients([*theta.values(), *(ws[i] for i in batch if ws[i].requires_grad)])
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            for k in range(rank, len(batch), processes):
                if on_step is not None:
                    on_step(turns + k, {"lpips": rows[k, 1], "mse": rows[k, 2]})
            turns += len(batch)

        if state is not None and (before := state.read()):
            with reading(state.path, "delete it, and the tuning begins anew"):
                first, turns = int(before["step"]), int(before["turns"])
                best_loss, kept = before["best_loss"].item(), turns
                random.set_state(before["random"])
                with torch.no_grad():
                    for name, tensor in learned.items():
                        tensor.copy_(before[f"now.{name}"])
                        best[name].copy_(before[f"best.{name}"])
                restore_adam(optimizer, before)

        with reused_memory():
            for step in range(first, cfg.num_steps + 1):
                last = step == cfg.num_steps
                factor = learning_rate_factor(step / cfg.num_steps, 0.0, cfg.rampdown)
                for group, rate in zip(optimizer.param_groups, rates, strict=False):
                    group["lr"] = rate * factor
                if last or step % cfg.check_interval == 0:
                    if state is not None and turns - kept >= state.every:
                        kept = turns
                        state.write(
                            {
                                "step": torch.tensor(step),
                                "turns": torch.tensor(turns),
                                "best_loss": torch.tensor(best_loss, dtype=torch.float64),
                                "random": random.get_state(),
                                **{f"now.{name}": t for name, t in learned.items()},
                                **{f"best.{name}": t for name, t in best.items()},
                                **adam_state(optimizer),
                            }
                        )
                    # 2. Now and then a step on the mean of all: keep the best weights, go on with who is not done.
                    everyone = range(count)
                    rows = accumulate(everyone)
                    losses, distances, _ = (reduce(rows, "sum") if processes > 1 else rows).T.tolist()
                    mean = sum(losses) / count
                    if not mean <= DIVERGED * best_loss:
                        stopped = f"diverged at step {step} of {cfg.num_steps}: loss {mean:.3g}, best {best_loss:.3g}"
                        break
                    if mean < best_loss:
                        best_loss = mean
                        for name, tensor in learned.items():
                            best[name].copy_(tensor.detach())
                    waiting = [i for i in everyone if not distances[i] < cfg.lpips_threshold]
                    if last or not waiting:
                        break
                    take_step(everyone, rows)
                else:
                    # 3. In between as many steps as there are of these, the more for the farther.
                    order = [waiting[k] for k in _turns([distances[i] for i in waiting], random)]
                    size = max(cfg.batch_size, processes)
                    for batch in (order[k : k + size] for k in range(0, len(order), size)):
                        take_step(batch, accumulate(batch))
        if stopped is not None:
            remedy = f"the best weights so far are kept; lower learning_rate={cfg.learning_rate:g} for better ones"
            warnings.warn(f"tuning {stopped}; {remedy}", RuntimeWarning, stacklevel=2)

        # 4. The pictures as θ + Δ gives them, which is what a saved personalisation will give again, bit for bit.
        original = dict(generator.named_parameters())
        deltas = {name: (best[f"theta.{name}"] - original[name]).detach().cpu() for name in theta}
        ws = [best[f"w.{i}"] for i in range(count)]
        weights = add_deltas(generator, deltas)
        metrics = []
        with torch.no_grad(), reused_memory():
            for w, target in zip(ws, targets, strict=True):
                picture = tuned_synthesis(generator, weights, w)
                distance, error = perceptual(picture, target).item(), F.mse_loss(picture, target).item()
                metrics.append({"lpips": distance, "mse": error})
        return Tuning(deltas, ws, metrics, turns, stopped)


def add_deltas(generator: Generator, deltas: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """θ* = θ + Δ by parameter name, on the generator's device."""
    original = dict(generator.named_parameters())
    return {name: original[name].detach() + d.to(original[name].device) for name, d in deltas.items()}


def _turns(distances: Sequence[float], random: torch.Generator) -> list[int]:
    """As many indices as there are distances, each as often as its share of their sum (systematic resampling)."""
    shares = torch.tensor(distances, dtype=torch.float64).clamp_min(1e-8)
    edges = shares.cumsum(0) / shares.sum() * len(shares)
    points = torch.rand(1, generator=random, dtype=torch.float64) + torch.arange(len(shares))
    chosen = torch.searchsorted(edges, points).clamp_max(len(shares) - 1)
    return chosen[torch.randperm(len(shares), generator=random)].tolist()


def _sum_gradients(parameters: Sequence[Tensor]) -> None:
    """Gradients of all processes added up, in one message; each has divided its own by the batch."""
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
    for p, gradient in zip(parameters, reduce(flat, "sum").split([p.numel() for p in parameters]), strict=True):
        p.grad = gradient.view_as(p).clone()
