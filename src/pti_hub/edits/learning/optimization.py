"""An edit in words that is found on one picture, by optimising its latent (Patashnik et al. 2021, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pti_hub.edits.direction import Direction
from pti_hub.edits.learning.text_loss import PictureLosses, TextLoss
from pti_hub.errors import InputError
from pti_hub.generators import broadcast_ws
from pti_hub.optim import (
    GradientPreconditioner,
    NaturalGradientDescent,
    StepCallback,
    check_hyper_parameters,
    learning_rate_factor,
    reused_memory,
)


@dataclass(frozen=True)
class LatentOptimizationConfig:
    """Hyper-parameters; the weights are StyleCLIP's, the steps are not.

    Attributes:
        num_steps: Number of steps.
        step_length: Length of the first step in each layer, in units of `w_std`; later steps shrink to 0 along a
            cosine.
        damping: δ of the natural gradient, see `GradientPreconditioner.natural`.
        l2_weight: λ_L2, weight of the squared length of the offset: in W of the one vector, in W+ summed over layers.
        identity_weight: λ_ID, weight of the identity loss.
        per_layer: Whether each layer gets an offset of its own (W+), or all of them the same (W).
    """

    num_steps: int = 100
    step_length: float = 0.02
    damping: float = 0.01
    l2_weight: float = 0.008
    identity_weight: float = 0.005
    per_layer: bool = False

    def __post_init__(self) -> None:
        check_hyper_parameters(self, ("num_steps", "step_length", "damping"))


def optimize_direction(
    name: str,
    pivot: Tensor,
    loss: TextLoss,
    config: LatentOptimizationConfig | None = None,
    preconditioner: GradientPreconditioner | None = None,
    on_step: StepCallback | None = None,
) -> Direction:
    """The offset d of one picture's latent that minimises D_CLIP(G(w_p + d), t) + λ_L2 ‖d‖² + λ_ID L_ID (Eq. 1, 2).

    The steps are along natural gradients where there is a preconditioner, and along plain ones else; their lengths are
    the same. Nothing is random.

    Args:
        name: Name of the direction.
        pivot: w_p, `[1, w_dim]` or `[1, num_ws, w_dim]`.
        loss: The phrase, the identity, and the generator with its tuned weights.
        config: Hyper-parameters.
        preconditioner: The generator's, such as its encoder has.
        on_step: Called after each step with `"phrase"` and `"identity"`, the losses before it.

    Returns:
        The offset with the least loss, in W or W+; strength 1 is the whole of it. `metrics` has the similarity to the
        phrase before and after, and the length of the offset in units of `w_std`.

    Raises:
        InputError: No step lowered the loss.
    """
    cfg, generator = config or LatentOptimizationConfig(), loss.generator
    start = broadcast_ws(generator, pivot.detach().float())  # [1, num_ws, w_dim]
    reference = loss.reference(start)
    offset = torch.zeros_like(start if cfg.per_layer else start[:, 0]).requires_grad_()
    length = cfg.step_length * float(generator.w_std)
    optimizer = NaturalGradientDescent(offset, preconditioner or _none(offset), length, cfg.damping)
    # The total loss and the similarity, at the start and at best.
    first: Tensor | None = None
    least, best = torch.tensor([torch.inf, 0.0], device=offset.device), offset.detach().clone()
    with reused_memory():
        # The last round only looks at what the last step gave.
        for step in range(cfg.num_steps + 1):
            losses = PictureLosses(*(values[0] for values in loss(start + broadcast_ws(generator, offset), reference)))
            total = losses.phrase + cfg.l2_weight * offset.square().sum() + cfg.identity_weight * losses.identity
            seen = torch.stack([total, 1 - losses.phrase]).detach()  # [2]
            first = seen if first is None else first
            # Compared on the device, which nothing waits for; NaN is never less.
            better = seen[0] < least[0]
            least, best = torch.where(better, seen, least), torch.where(better, offset.detach(), best)
            if step == cfg.num_steps:
                break
            optimizer.param_groups[0]["lr"] = length * learning_rate_factor(step / cfg.num_steps, 0.0, 1.0)
            # Only the offset gets a gradient, whatever else could be trained.
            (offset.grad,) = torch.autograd.grad(total, [offset])
            optimizer.step()
            if on_step is not None:
                on_step(step, {"phrase": losses.phrase.detach(), "identity": losses.identity.detach()})
    assert first is not None
    return _direction(name, best[0].cpu(), loss, cfg, float(first[1]), float(least[1]))


def _none(offset: Tensor) -> GradientPreconditioner:
    """A preconditioner without axes: the natural gradient is the plain one."""
    return GradientPreconditioner(offset.new_zeros(0, offset.shape[-1]), offset.new_zeros(0))


def _direction(
    name: str, offset: Tensor, loss: TextLoss, config: LatentOptimizationConfig, before: float, after: float
) -> Direction:
    model, phrase = loss.distance.model, loss.distance.phrase
    if not offset.any():
        raise InputError(
            f"no step brought the picture nearer to {phrase!r} at l2_weight={config.l2_weight:g}, "
            f"identity_weight={config.identity_weight:g}; lower them or step_length, or say it in other words"
        )
    length = offset.square().sum(-1).mean().sqrt() / loss.generator.w_std.cpu()
    metrics = {
        "similarity_before": round(before, 4),
        "similarity_after": round(after, 4),
        "length": round(float(length), 4),
    }
    words = f"{model.name} on one picture, {config.num_steps} steps to {phrase!r}"
    return Direction(name, offset, words, metrics)
