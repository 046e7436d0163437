"""What an optimisation loop changes from step to step, and the best of it seen so far."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pti_hub.optim.loop_checkpoint import LoopCheckpoint
from pti_hub.storage import as_weights_error

DIVERGED = 10.0
"""A loss that many times the best one seen will not come back."""

_ADAM = {"step", "exp_avg", "exp_avg_sq"}


class LoopState:
    """What a loop learns, with the optimiser and the random numbers that it is learned by.

    Args:
        learned: Tensors by name, which the optimiser changes in place.
        optimizer: The optimiser.
        random: The generator of the loop's random numbers.
        fixed: Tensors by name that the loop computed at its start, and that a resumed loop must have unchanged.

    Attributes:
        best: Copies of what is learned, at the least loss seen; the start until a loss is offered.
        best_loss: The least loss seen; infinite at first.
    """

    def __init__(
        self,
        learned: Mapping[str, Tensor],
        optimizer: torch.optim.Optimizer,
        random: torch.Generator,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.learned, self.optimizer, self.random, self.fixed = learned, optimizer, random, fixed or {}
        self.best = {name: tensor.detach().clone() for name, tensor in learned.items()}
        self.best_loss = math.inf

    def has_diverged(self, loss: float) -> bool:
        """Whether a loss is not a number, or more than `DIVERGED` times the best one.

        Args:
            loss: Loss of a step.
        """
        return not loss <= DIVERGED * self.best_loss

    def offer(self, loss: float) -> None:
        """Copy what is learned if this loss is the least so far.

        Args:
            loss: Loss of what is learned now.
        """
        if loss < self.best_loss:
            self.keep(loss)

    def keep(self, loss: float) -> None:
        """Copy what is learned, whatever has been seen before.

        Args:
            loss: Loss of what is learned now.
        """
        self.best_loss = loss
        for name, tensor in self.learned.items():
            self.best[name].copy_(tensor.detach())

    def write(self, checkpoint: LoopCheckpoint, **counters: int) -> None:
        """Keep the state, and the loop's counters by name, in a file.

        Args:
            checkpoint: The file.
            **counters: Numbers that the loop needs to go on.

        Raises:
            SaveError: The disk is full, or the place is not writable.
        """
        checkpoint.write(
            {
                **{name: torch.tensor(count) for name, count in counters.items()},
                "best_loss": torch.tensor(self.best_loss, dtype=torch.float64),
                "random": self.random.get_state(),
                **{f"now.{name}": tensor for name, tensor in self.learned.items()},
                **{f"best.{name}": tensor for name, tensor in self.best.items()},
                **{f"fixed.{name}": tensor for name, tensor in self.fixed.items()},
                **adam_state(self.optimizer),
            }
        )

    def resume(self, checkpoint: LoopCheckpoint | None, *counters: str) -> list[int]:
        """Take the state from a file.

        Args:
            checkpoint: The file.
            *counters: Names of the loop's counters.

        Returns:
            The counters, which are 0 where there is nothing to resume.

        Raises:
            WeightsError: The file is damaged or of another loop.
        """
        kept = {} if checkpoint is None else checkpoint.read()
        if checkpoint is None or not kept:
            return [0] * len(counters)
        with as_weights_error(checkpoint.path, "delete it to do that part of the work anew"), torch.no_grad():
            if {name for name in kept if name.startswith("fixed.")} != {f"fixed.{name}" for name in self.fixed}:
                raise KeyError("it has other bases")
            self.best_loss = kept["best_loss"].item()
            self.random.set_state(kept["random"])
            for name, tensor in self.learned.items():
                _refill(tensor, kept[f"now.{name}"])
                _refill(self.best[name], kept[f"best.{name}"])
            for name, tensor in self.fixed.items():
                _refill(tensor, kept[f"fixed.{name}"])
            restore_adam(self.optimizer, kept)
            return [int(kept[name]) for name in counters]


def adam_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and step counts of an optimiser, by `"adam.<parameter's number>.<key>"`.

    Args:
        optimizer: An Adam.
    """
    state = optimizer.state_dict()["state"]
    return {f"adam.{i}.{key}": tensor for i, entry in state.items() for key, tensor in entry.items()}


def restore_adam(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser the moments and step counts that `adam_state` returned, found among tensors by name.

    Args:
        optimizer: An Adam over parameters of the same shapes.
        tensors: Tensors by name.

    Raises:
        ValueError: A moment or a step count is missing, or has another shape.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam."):
            _, i, key = name.split(".")
            # The fused step walks moments and weights in memory without a look at shapes, so they must lie alike.
            like = torch.zeros(()) if key == "step" else torch.empty_like(parameters[int(i)])
            state.setdefault(int(i), {})[key] = _refill(like, tensor).detach()
    if odd := [i for i, entry in state.items() if entry.keys() != _ADAM]:
        raise ValueError(f"parameter {odd[0]} has {sorted(state[odd[0]])}; expected {sorted(_ADAM)}")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _refill(tensor: Tensor, kept: Tensor) -> Tensor:
    """The tensor with what was kept of it, which must have its shape: what fits in part only is of another loop."""
    if kept.shape != tensor.shape:
        raise ValueError(f"it holds {list(kept.shape)} for {list(tensor.shape)}")
    return tensor.copy_(kept)
