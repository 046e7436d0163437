"""A direction d in latent space, and an edit w + a·d along it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pti_hub.errors import InputError
from pti_hub.faces import Measure


class Step(NamedTuple):
    """What one step of a direction changes in the picture.

    Attributes:
        measure: What is measured, such as `pti_hub.faces.MEASURES["mouth_width"]`.
        change: By how much one step changes it.
    """

    measure: Measure
    change: float


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction in latent space that changes one property of the picture (Shen et al. 2020, InterfaceGAN).

    Args:
        name: The property, e.g. `"age"`; must not contain a `=`, which separates the strength on the command line.
        vector: What strength 1.0 adds to a latent: floating point, `[w_dim]` for W (the same step in every layer), or
            `[num_ws, w_dim]` for W+.
        provenance: Where the direction comes from, in words.
        metrics: Measurements of the direction, in JSON's types.
        step: What one step changes in the picture, where the strength is solved for on each face: a `MeasuredEdit`
            counts in these steps, an `Edit` always in vectors.

    Raises:
        InputError: The name is empty or contains a `=`, the vector has another shape or type, or is not finite, or the
            step has no measure or does not go upwards.
    """

    name: str
    vector: Tensor
    provenance: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    step: Step | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or "=" in self.name:
            raise InputError(f"direction named {self.name!r}; expected a name such as 'smile', without '='")
        v = self.vector
        if not isinstance(v, Tensor) or not v.is_floating_point() or v.ndim not in (1, 2) or not v.numel():
            given = f"{v.dtype} {list(v.shape)}" if isinstance(v, Tensor) else type(v).__name__
            raise InputError(
                f"direction {self.name!r} was given {given}; expected a floating-point tensor "
                "[w_dim] (W) or [num_ws, w_dim] (W+)"
            )
        if not torch.isfinite(v).all():
            raise InputError(f"direction {self.name!r} holds NaN or infinite values; learn or fetch it again")
        if self.step is not None:
            measure, change = self.step
            check_amount("step", change, self.name)
            if not isinstance(measure, Measure) or change <= 0:
                raise InputError(
                    f"{self.name!r} has steps of {change!r} in {measure!r}; expected a number above 0 in a Measure, "
                    "such as pti_hub.faces.MEASURES['mouth_width']"
                )

    @property
    def space(self) -> str:
        """`"W"`, or `"W+"` if the vector holds one step per layer."""
        return "W" if self.vector.ndim == 1 else "W+"

    def apply(self, ws: Tensor, strength: float = 1.0) -> Tensor:
        """Move latents along the direction: w + a·d.

        Args:
            ws: `[B, num_ws, w_dim]`; for a direction in W also `[B, w_dim]`.
            strength: Number of steps a.

        Returns:
            A new tensor like `ws`.

        Raises:
            InputError: The direction does not fit the shape of `ws`.
        """
        if ws.ndim not in (2, 3) or ws.shape[1:][-self.vector.ndim :] != self.vector.shape:
            raise InputError(
                f"latent of shape {list(ws.shape)} was given to the {self.space} direction {self.name!r}; "
                f"expected [B, num_ws, w_dim] that fits the vector {list(self.vector.shape)}"
            )
        return ws + strength * self.vector.to(ws)

    def renamed(self, name: str) -> Direction:
        """The same direction under another name.

        Args:
            name: The new name.

        Raises:
            InputError: The name is empty or contains a `=`.
        """
        return dataclasses.replace(self, name=name)

    def layers(self, first: int, last: int, num_ws: int) -> Direction:
        """Limit the direction to some layers, so that what the other layers render does not change.

        Args:
            first: First layer that moves; layer 0 is the coarsest.
            last: Last layer that moves.
            num_ws: Number of layers of the generator.

        Returns:
            A direction in W+, without a step of its own.

        Raises:
            InputError: The layers are out of range, or the direction has another number of layers.
        """
        if not 0 <= first <= last < num_ws:
            raise InputError(f"layers {first} to {last} of {num_ws}; expected 0 <= first <= last < {num_ws}")
        if self.vector.ndim == 2 and len(self.vector) != num_ws:
            raise InputError(f"direction {self.name!r} has {len(self.vector)} layers; expected num_ws={num_ws}")
        vector = torch.zeros(num_ws, self.vector.shape[-1], dtype=self.vector.dtype, device=self.vector.device)
        selected = slice(first, last + 1)
        vector[selected] = self.vector if self.vector.ndim == 1 else self.vector[selected]
        provenance = f"{self.provenance}; layers {first} to {last}".removeprefix("; ")
        return Direction(self.name, vector, provenance)


@dataclass(frozen=True)
class Edit:
    """A direction and the strength of the edit along it.

    Args:
        direction: The direction.
        strength: Number of vectors; negative strengths go the opposite way.

    Raises:
        InputError: The strength is not a finite number.
    """

    direction: Direction
    strength: float = 1.0

    def __post_init__(self) -> None:
        check_amount("strength", self.strength, self.direction.name)

    def apply(self, ws: Tensor) -> Tensor:
        """The edited latent; see `Direction.apply`."""
        return self.direction.apply(ws, float(self.strength))


def check_amount(kind: str, amount: Any, name: str) -> None:
    """Check that the strength or angle of an edit is a finite number.

    Args:
        kind: What the message calls the amount, e.g. `"strength"`.
        amount: The strength or angle.
        name: Name of the edit.

    Raises:
        InputError: The amount is not a finite number.
    """
    is_number = isinstance(amount, Real) and not isinstance(amount, bool)
    if not is_number or not math.isfinite(amount):
        raise InputError(f"{kind} {amount!r} of {name!r}; expected a finite number")
