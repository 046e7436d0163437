"""The loop of pivotal tuning: rounds of steps, checks in between, shared out over processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import broadcast, reduce
from torch import Tensor

from pti_hub.faces import Likeness
from pti_hub.generators import Generator, tuned_synthesis
from pti_hub.optim import (
    ConvolutionMoments,
    Eigenbasis,
    EigenbasisAdam,
    LoopCheckpoint,
    LoopState,
    StepCallback,
    learning_rate_factor,
    mixed_precision,
    process_state,
)
from pti_hub.perceptual import LPIPS
from pti_hub.tuners.config import PivotalTunerConfig
from pti_hub.tuners.locality import locality_loss
from pti_hub.tuners.reconstruction import Losses, ReconstructionLoss

# Pictures that the eigenbasis is computed from, at most.
_BASIS_PICTURES = 4
_SIDES = ("outputs", "inputs")


class TuningLoop:
    """Learns one θ* for one or many pivots (Eq. 2, 3, 7).

    Args:
        config: Hyper-parameters.
        generator: G with weights θ; left as it is.
        perceptual: Distance of Eq. 2.
        pivots: w_i, each `[1, w_dim]` or `[1, num_ws, w_dim]`.
        targets: x_i, each `[1, 3, R, R]`.
        likenesses: The face in each x_i, or `None`.
        seed: Seed of everything random.
        on_step: Called after each step on a photograph.
        shared: Whether all processes share out the photographs of each step.

    Attributes:
        theta: θ* by parameter name.
        ws: w_i as they are now.
        state: What is learned, and the best of it.
        updates: Steps taken so far, counted per photograph.
        stopped: Why the loop ended before its time, where it diverged.
    """

    def __init__(
        self,
        config: PivotalTunerConfig,
        generator: Generator,
        perceptual: LPIPS,
        pivots: Sequence[Tensor],
        targets: Sequence[Tensor],
        likenesses: Sequence[Likeness | None],
        seed: int,
        on_step: StepCallback | None,
        shared: bool,
    ) -> None:
        self.config, self.generator, self.perceptual, self.on_step = config, generator, perceptual, on_step
        self.device, self.count = targets[0].device, len(targets)
        self.locality_weight = config.locality_weight if self.count == 1 else config.shared_locality_weight
        self.rank: int = process_state().process_index if shared else 0
        self.processes: int = process_state().num_processes if shared else 1
        self.losses = [
            ReconstructionLoss(perceptual, target, None if face is None else face.importance)
            for target, face in zip(targets, likenesses, strict=True)
        ]
        self.likenesses = likenesses
        styles = {f"{layer.name}.weight" for layer in generator.style_layers()}
        self.theta = {
            name: p.detach().float().clone().requires_grad_(config.tunes_styles or name not in styles)
            for name, p in generator.named_parameters()
            if not name.startswith("mapping_network.")
        }
        self.ws = [pivot.detach().float().clone() for pivot in pivots]
        bases = self._eigenbases() if config.uses_eigenbasis else {}
        learned = {f"theta.{name}": p for name, p in self.theta.items()} | {f"w.{i}": w for i, w in enumerate(self.ws)}
        fixed = {f"{name}.{side}": getattr(basis, side) for name, basis in bases.items() for side in _SIDES}
        self.state = LoopState(learned, self._optimizer(bases), torch.Generator().manual_seed(seed), fixed)
        self.updates = 0
        self.stopped: str | None = None
        # Who is not good enough yet, and how far each photograph is.
        self._waiting, self._distances = list(range(self.count)), [1.0] * self.count
        # The last picture and its place in its batch, for whoever watches.
        self._painted = (0, targets[0])

    def _optimizer(self, bases: Mapping[str, Eigenbasis]) -> torch.optim.Optimizer:
        cfg = self.config
        groups: list[dict[str, Any]] = [{"params": [p for p in self.theta.values() if p.requires_grad]}]
        if cfg.pivot_learning_rate:
            groups.append({"params": [w.requires_grad_() for w in self.ws], "lr": cfg.pivot_learning_rate})
        pairs = [(self.theta[name], basis) for name, basis in bases.items()]
        betas, rounds = (cfg.beta1, cfg.beta2), cfg.rounds_activations
        return EigenbasisAdam(groups, pairs, rounds, lr=cfg.learning_rate, betas=betas, fused=True)

    def _eigenbases(self) -> dict[str, Eigenbasis]:
        """Bases by the weight's name, from a few of the pictures at their pivots."""
        with ConvolutionMoments(self.theta) as moments:
            for k in range(0, self.count, -(-self.count // _BASIS_PICTURES)):
                self._loss(k)[0].backward()
        for p in self.theta.values():
            p.grad = None
        bases = moments.eigenbases()
        if self.processes > 1:
            # Eigenvectors are unique up to their sign only, and all processes must take the same step.
            for name, basis in bases.items():
                bases[name] = Eigenbasis(*(broadcast(getattr(basis, side)) for side in _SIDES))
        return bases

    def _loss(self, i: int) -> tuple[Tensor, Losses, Tensor]:
        """L_LPIPS(x_i, x_i^p) + λ_L2 L_L2(x_i, x_i^p), its parts, and x_i^p = G(w_i; θ*)."""
        cfg = self.config
        with mixed_precision(self.device, cfg.rounds_activations):
            picture = tuned_synthesis(self.generator, self.theta, self.ws[i])  # [1, 3, R, R]
        losses = self.losses[i](picture.float())
        return cfg.lpips_weight * (losses.lpips + losses.around) + cfg.l2_weight * losses.l2, losses, picture

    def run(self, checkpoint: LoopCheckpoint | None) -> None:
        """Take rounds of steps until all photographs are good enough, or there are no rounds left.

        Args:
            checkpoint: Where the loop's state is kept, and resumed from.
        """
        first, self.updates = self.state.resume(checkpoint, "step", "updates")
        kept = self.updates
        for step in range(first, self.config.num_steps + 1):
            self._set_learning_rates(step)
            is_last = step == self.config.num_steps
            if not is_last and step % self.config.check_interval:
                self._take_round()
                continue
            if checkpoint is not None and self.updates - kept >= checkpoint.every:
                kept = self.updates
                self.state.write(checkpoint, step=step, updates=self.updates)
            if self._check(step, is_last):
                break

    def _set_learning_rates(self, step: int) -> None:
        cfg = self.config
        factor = learning_rate_factor(step / cfg.num_steps, 0.0, cfg.rampdown)
        rates = (cfg.learning_rate, cfg.pivot_learning_rate)
        for group, rate in zip(self.state.optimizer.param_groups, rates, strict=False):
            group["lr"] = rate * factor

    def _check(self, step: int, is_last: bool) -> bool:
        """Keep the best weights, find who is not good enough yet, and take a step on the mean of all (Eq. 3).

        The losses are all of the same weights, which a round's are not.

        Returns:
            Whether the loop is to end here.
        """
        everyone = range(self.count)
        rows = self._accumulate(everyone)
        losses, self._distances, _ = (reduce(rows, "sum") if self.processes > 1 else rows).T.tolist()
        mean = sum(losses) / self.count
        if self.state.has_diverged(mean):
            best = self.state.best_loss
            self.stopped = f"diverged at step {step} of {self.config.num_steps}: loss {mean:.3g}, best {best:.3g}"
            return True
        mine = [float(i % self.processes == self.rank and self._is_near(i)) for i in everyone]
        near = torch.tensor(mine, device=self.device)
        near = reduce(near, "sum") if self.processes > 1 else near
        self._waiting = [i for i, is_near in enumerate(near.tolist()) if not is_near]
        if not self._waiting:
            # These weights are the ones that pass; others had a smaller loss, perhaps, but not this face.
            self.state.keep(mean)
            return True
        self.state.offer(mean)
        if is_last:
            return True
        self._take_step(everyone, rows)
        return False

    @torch.no_grad()
    def _is_near(self, i: int) -> bool:
        """Whether a photograph is good enough: its LPIPS, and whose face it is."""
        cfg, face = self.config, self.likenesses[i]
        if not self._distances[i] < cfg.lpips_threshold:
            return False
        if face is None or not cfg.identity_threshold:
            return True
        picture = tuned_synthesis(self.generator, self.theta, self.ws[i])
        return face.distance(picture) < cfg.identity_threshold

    def _take_round(self) -> None:
        """As many steps as there are photographs that wait, more often on those that are farther."""
        drawn = draw_photographs([self._distances[i] for i in self._waiting], self.state.random)
        order = [self._waiting[k] for k in drawn]
        size = max(self.config.batch_size, self.processes)
        for batch in (order[k : k + size] for k in range(0, len(order), size)):
            self._take_step(batch, self._accumulate(batch))

    def _accumulate(self, batch: Sequence[int]) -> Tensor:
        """Gradients of the batch's mean loss, over this process's share of the batch.

        Returns:
            `[len(batch), 3]`: loss, LPIPS and MSE per photograph; zeros for other processes' photographs.
        """
        cfg, random = self.config, self.state.random
        samples = cfg.locality_samples if self.locality_weight else 0
        # Every process draws the codes of all, so that the number of processes changes nothing.
        z = torch.randn(len(batch), samples, self.generator.z_dim, generator=random)  # [B, N_r, z_dim]
        rows = torch.zeros(len(batch), 3, device=self.device)
        for k in range(self.rank, len(batch), self.processes):
            loss, losses, picture = self._loss(batch[k])
            (loss / len(batch)).backward()
            for z_r in z[k]:
                w = self.ws[batch[k]].detach()
                self._accumulate_locality(w, z_r[None], self.locality_weight / samples / len(batch))
            rows[k] = torch.stack([loss, losses.lpips, losses.l2]).detach()
            self._painted = (k, picture.detach())
        return rows

    def _accumulate_locality(self, w: Tensor, z: Tensor, weight: float) -> None:
        cfg = self.config
        with mixed_precision(self.device, cfg.rounds_activations):
            loss = locality_loss(
                self.generator, self.theta, self.perceptual, w, z, cfg.locality_alpha, cfg.locality_l2_weight
            )
        (weight * loss).backward()

    def _take_step(self, batch: Sequence[int], rows: Tensor) -> None:
        if self.processes > 1:
            learned = [*self.theta.values(), *(self.ws[i] for i in batch)]
            _sum_gradients([p for p in learned if p.requires_grad])
        self.state.optimizer.step()
        self.state.optimizer.zero_grad(set_to_none=True)
        for k in range(self.rank, len(batch), self.processes):
            if self.on_step is not None:
                number, picture = self._painted
                shown = {"picture": picture} if k == number else {}
                self.on_step(self.updates + k, {"lpips": rows[k, 1], "mse": rows[k, 2], **shown})
        self.updates += len(batch)


def draw_photographs(distances: Sequence[float], random: torch.Generator) -> list[int]:
    """As many indices as there are distances, each as often as its share of their sum (systematic resampling)."""
    shares = torch.tensor(distances, dtype=torch.float64).clamp_min(1e-8)
    edges = shares.cumsum(0) / shares.sum() * len(shares)
    points = torch.rand(1, generator=random, dtype=torch.float64) + torch.arange(len(shares))
    chosen = torch.searchsorted(edges, points).clamp_max(len(shares) - 1)
    return chosen[torch.randperm(len(shares), generator=random)].tolist()


def _sum_gradients(parameters: Sequence[Tensor]) -> None:
    """Gradients of all processes added up, in one message; each process has divided its own by the batch's size."""
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
    for p, gradient in zip(parameters, reduce(flat, "sum").split([p.numel() for p in parameters]), strict=True):
        p.grad = gradient.view_as(p).clone()
