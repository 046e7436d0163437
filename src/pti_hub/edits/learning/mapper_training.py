"""Training a latent mapper for a phrase (Patashnik et al. 2021, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pti_hub.edits.learning.text_loss import TextLoss
from pti_hub.edits.mapper import LEVELS, STEP, LatentMapper
from pti_hub.errors import InputError
from pti_hub.generators import Generator, broadcast_ws
from pti_hub.optim import (
    LoopCheckpoint,
    LoopState,
    StepCallback,
    check_hyper_parameters,
    learning_rate_factor,
    reused_memory,
)
from pti_hub.perceptual import TargetFeatures

# Shares of the steps over which the learning rate rises from 0, and falls back to 0.
_RAMPUP, _RAMPDOWN = 0.05, 0.25


@dataclass(frozen=True)
class MapperTrainingConfig:
    """Hyper-parameters; the weights are StyleCLIP's, whose code takes 50 000 steps of another optimiser.

    Attributes:
        num_steps: Number of Adam's steps.
        batch_size: Latents per step.
        learning_rate: Adam's peak learning rate; the mapper's layers scale it by 0.01.
        l2_weight: λ_L2, weight of the mean squared entry of what the mapper adds to ws.
        identity_weight: λ_ID, weight of the identity loss.
        held_out: Number of latents, the last ones, that are not trained on.
        check_interval: Number of steps after which the mapper is tried on the held-out latents.
    """

    num_steps: int = 1000
    batch_size: int = 2
    learning_rate: float = 0.1
    l2_weight: float = 0.8
    identity_weight: float = 0.1
    held_out: int = 20
    check_interval: int = 100

    def __post_init__(self) -> None:
        check_hyper_parameters(self, ("num_steps", "batch_size", "learning_rate", "held_out", "check_interval"))


class TrainedMapper(NamedTuple):
    """A mapper and what was measured on latents that it was not trained on.

    Attributes:
        mapper: The mapper, on the CPU.
        metrics: Mean `"similarity_before"` and `"similarity_after"` to the phrase, the share `"raised"` of the
            held-out latents whose similarity rises, and the root mean square `"length"` of what strength 1 adds to a
            layer's w, in units of `w_std`.
        state: File with the state of the training, which can be deleted once the mapper is saved.
    """

    mapper: LatentMapper
    metrics: dict[str, float]
    state: Path | None = None


def train_mapper(
    latents: Tensor,
    loss: TextLoss,
    config: MapperTrainingConfig | None = None,
    seed: int = 0,
    on_step: StepCallback | None = None,
    checkpoint: LoopCheckpoint | None = None,
) -> TrainedMapper:
    """A mapper M_t that minimises D_CLIP(G(ŵ), t) + λ_L2 ‖ŵ - w‖² + λ_ID L_ID with ŵ = w + 0.1 M_t(w) (Eq. 4, 5).

    It begins with M_t = 0. Of the mappers that are tried on the held-out latents, the one with the least loss is kept.

    Args:
        latents: `[N, w_dim]` or `[N, num_ws, w_dim]`, such as `Samples.latents`.
        loss: The phrase, the identity, and the generator.
        config: Hyper-parameters.
        seed: Seed of the mapper's first weights and of the order of the latents.
        on_step: Called after each step with `"phrase"` and `"identity"`, the losses of its last latent.
        checkpoint: Where the loop's state is kept, and resumed from.

    Raises:
        InputError: There are too few latents, they are of another generator, or the mapper raises the similarity on
            the held-out latents no more than no mapper.
        WeightsError: The checkpoint is damaged or of another loop.
        SaveError: The checkpoint can't be written.
    """
    cfg, generator = config or MapperTrainingConfig(), loss.generator
    if len(latents) < cfg.held_out + cfg.batch_size:
        raise InputError(
            f"{len(latents)} latents, of which {cfg.held_out} are held out; give at least "
            f"{cfg.held_out + cfg.batch_size}, better 1000"
        )
    ws = broadcast_ws(generator, latents.detach().float()).to(generator.w_avg.device)  # [N, num_ws, w_dim]
    known, unseen = ws[: -cfg.held_out], ws[-cfg.held_out :]
    mapper = _new_mapper(generator, loss, cfg, seed)
    parameters = dict(mapper.named_parameters())
    optimizer = torch.optim.Adam(parameters.values(), lr=cfg.learning_rate)
    state = LoopState(parameters, optimizer, torch.Generator().manual_seed(seed))
    (first,) = state.resume(checkpoint, "step")
    with reused_memory():
        references = [loss.reference(one) for one in unseen.split(1)]
        if not first:
            state.offer(_try(mapper, unseen, references, loss, cfg)[0])
        for step in range(first, cfg.num_steps):
            if checkpoint is not None and step > first and step % checkpoint.every == 0:
                state.write(checkpoint, step=step)
            factor = learning_rate_factor(step / cfg.num_steps, _RAMPUP, _RAMPDOWN)
            optimizer.param_groups[0]["lr"] = cfg.learning_rate * factor
            batch = torch.randint(len(known), (cfg.batch_size,), generator=state.random)
            losses = _accumulate(mapper, known[batch], loss, cfg)
            optimizer.step()
            optimizer.zero_grad()
            if (step + 1) % cfg.check_interval == 0 or step + 1 == cfg.num_steps:
                state.offer(_try(mapper, unseen, references, loss, cfg)[0])
            if on_step is not None:
                on_step(step, losses)
        mapper.load_state_dict(state.best)
        after = _try(mapper, unseen, references, loss, cfg)[1]
        return _measured(mapper, unseen, after, loss, cfg)


def _new_mapper(generator: Generator, loss: TextLoss, config: MapperTrainingConfig, seed: int) -> LatentMapper:
    """A mapper that moves nothing yet, with the levels that the generator has."""
    levels = [level for level in ("coarse", "medium", "fine") if range(generator.num_ws)[LEVELS[level]]]
    words = f"{loss.distance.model.name}, {config.num_steps} steps to {loss.distance.phrase!r}"
    with torch.random.fork_rng(devices=[]):
        # `torch.manual_seed` would seed the GPUs, too.
        torch.default_generator.manual_seed(seed)
        mapper = LatentMapper(levels, generator.w_dim, provenance=words)
    for layers in mapper.levels.values():
        assert isinstance(layers, nn.ModuleList)
        nn.init.zeros_(layers[-1].weight)  # type: ignore[arg-type]
    return mapper.to(generator.w_avg.device)


def _accumulate(mapper: LatentMapper, batch: Tensor, loss: TextLoss, config: MapperTrainingConfig) -> dict[str, Tensor]:
    """Gradients of a batch, one latent after the other, which takes the memory of one."""
    parameters = list(mapper.parameters())
    for ws in batch.split(1):
        offsets = STEP * mapper(ws)  # [1, num_ws, w_dim]
        losses = loss(ws + offsets, loss.reference(ws))
        total = _total(losses.phrase, losses.identity, offsets, config).sum() / len(batch)
        # Only the mapper gets gradients, whatever else could be trained.
        for p, gradient in zip(parameters, torch.autograd.grad(total, parameters), strict=True):
            p.grad = gradient if p.grad is None else p.grad + gradient
    return {"phrase": losses.phrase.detach()[0], "identity": losses.identity.detach()[0]}


def _total(phrase: Tensor, identity: Tensor, offsets: Tensor, config: MapperTrainingConfig) -> Tensor:
    """Eq. 5, `[B]`."""
    return phrase + config.l2_weight * offsets.square().mean((1, 2)) + config.identity_weight * identity


@torch.no_grad()
def _try(
    mapper: LatentMapper,
    unseen: Tensor,
    references: Sequence[TargetFeatures | Tensor],
    loss: TextLoss,
    config: MapperTrainingConfig,
) -> tuple[float, Tensor]:
    """The mean of Eq. 5, and the similarities `[N]` to the phrase, on latents that are not trained on."""
    totals, similarities = [], []
    for ws, reference in zip(unseen.split(1), references, strict=True):
        offsets = STEP * mapper(ws)
        losses = loss(ws + offsets, reference)
        totals.append(_total(losses.phrase, losses.identity, offsets, config))
        similarities.append(1 - losses.phrase)
    return torch.cat(totals).mean().item(), torch.cat(similarities).cpu()


@torch.no_grad()
def _measured(
    mapper: LatentMapper, unseen: Tensor, after: Tensor, loss: TextLoss, config: MapperTrainingConfig
) -> TrainedMapper:
    """The mapper with its metrics, of which the similarities `[N]` after the edit are known.

    Raises:
        InputError: The similarities do not rise.
    """
    before = torch.cat([1 - loss.distance(loss.render(ws)) for ws in unseen.split(1)]).cpu()
    if not after.mean() > before.mean():
        raise InputError(
            f"after {config.num_steps} steps the mapper brings latents that it has not seen no nearer to "
            f"{loss.distance.phrase!r}; take more steps, lower l2_weight or learning_rate, or say it in other words"
        )
    length = (STEP * mapper(unseen)).square().sum(-1).mean().sqrt() / loss.generator.w_std
    metrics = {
        "similarity_before": round(before.mean().item(), 4),
        "similarity_after": round(after.mean().item(), 4),
        "raised": round((after > before).float().mean().item(), 3),
        "length": round(length.item(), 4),
    }
    return TrainedMapper(mapper.cpu().eval().requires_grad_(False), metrics)
