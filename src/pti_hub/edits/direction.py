"""A direction d in latent space, and an edit w + a·d along it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from pti_hub.errors import InputError


@dataclass(frozen=True, eq=False)
class Direction:
    """A way through latent space that changes one thing about the picture (Shen et al. 2020, InterfaceGAN).

    Args:
        name: What it changes, e.g. `"age"`; it may not hold a `=`, which separates the strength on the command line.
        vector: The step of strength 1.0: floating point, `[w_dim]` for W (the same step in every layer), or
            `[num_ws, w_dim]` for W+.
        provenance: Where it comes from, in words.
        metrics: What was measured of it, of JSON's types.

    Raises:
        InputError: The name is empty or holds a `=`, or the vector has another shape or type, or is not finite.
    """

    name: str
    vector: Tensor
    provenance: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)

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

    @property
    def space(self) -> str:
        """`"W"`, or `"W+"` where layers differ."""
        return "W" if self.vector.ndim == 1 else "W+"

    def apply(self, ws: Tensor, strength: float = 1.0) -> Tensor:
        """w + a·d.

        Args:
            ws: `[B, num_ws, w_dim]`; for a direction in W also `[B, w_dim]`.
            strength: a, in steps.

        Returns:
            A new tensor like `ws`.

        Raises:
            InputError: `ws` is of a shape that the direction does not fit.
        """
        if ws.ndim not in (2, 3) or ws.shape[1:][-self.vector.ndim :] != self.vector.shape:
            raise InputError(
                f"latent of shape {list(ws.shape)} was given to the {self.space} direction {self.name!r}; "
                f"expected [B, num_ws, w_dim] that fits its {list(self.vector.shape)}"
            )
        return ws + strength * self.vector.to(ws)

    def layers(self, first: int, last: int, num_ws: int) -> Direction:
        """The same direction in some layers only, which leaves alone what the others paint.

        Args:
            first: First layer that moves, from 0, the coarsest.
            last: Last layer that moves.
            num_ws: Number of layers of the generator.

        Returns:
            A direction in W+.

        Raises:
            InputError: There are no such layers, or the direction has another number of them.
        """
        if not 0 <= first <= last < num_ws:
            raise InputError(f"layers {first} to {last} of {num_ws}; expected 0 <= first <= last < {num_ws}")
        if self.vector.ndim == 2 and len(self.vector) != num_ws:
            raise InputError(f"direction {self.name!r} has {len(self.vector)} layers; expected num_ws={num_ws}")
        vector = torch.zeros(num_ws, self.vector.shape[-1], dtype=self.vector.dtype, device=self.vector.device)
        moving = slice(first, last + 1)
        vector[moving] = self.vector if self.vector.ndim == 1 else self.vector[moving]
        provenance = f"{self.provenance}; layers {first} to {last}".removeprefix("; ")
        return Direction(self.name, vector, provenance)


@dataclass(frozen=True)
class Edit:
    """A direction and how far to go along it.

    Args:
        direction: The direction.
        strength: In steps of the direction; negative goes the other way.

    Raises:
        InputError: The strength is no finite number.
    """

    direction: Direction
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not _is_number(self.strength) or not math.isfinite(self.strength):
            raise InputError(f"strength {self.strength!r} of {self.direction.name!r}; expected a finite number")

    def apply(self, ws: Tensor) -> Tensor:
        """The edited latent; see `Direction.apply`."""
        return self.direction.apply(ws, float(self.strength))


def parse_edits(edit: Any, catalogue: Mapping[str, Direction]) -> list[Edit]:
    """What a user wrote, as edits.

    Args:
        edit: `None`, a name, a `(name, strength)`, a `Direction`, an `Edit`, or a sequence of these.
        catalogue: The directions that can be named.

    Returns:
        The edits in the order given; none for `None`.

    Raises:
        InputError: An unknown name, a strength that is not finite, or something else altogether.
    """
    if edit is None:
        return []
    if isinstance(edit, Edit):
        return [edit]
    if isinstance(edit, Direction):
        return [Edit(edit)]
    if isinstance(edit, str):
        return [Edit(_named(edit, catalogue))]
    if isinstance(edit, tuple) and len(edit) == 2 and isinstance(edit[0], str) and _is_number(edit[1]):
        return [Edit(_named(edit[0], catalogue), float(edit[1]))]
    if isinstance(edit, Sequence):
        return [parsed for item in edit for parsed in parse_edits(item, catalogue)]
    raise InputError(f"edit {edit!r}; expected a name, a pair such as ('age', -3.0), an Edit, or a list of these")


def parse_edit_text(text: str) -> tuple[str, float]:
    """An edit of the command line: `"age=-3"`, or `"smile"` for strength 1.

    Args:
        text: The argument.

    Returns:
        Name and strength.

    Raises:
        InputError: There is no name, or the strength is no finite number.
    """
    name, separator, number = (part.strip() for part in text.partition("="))
    try:
        strength = float(number) if separator else 1.0
    except ValueError:
        strength = math.nan
    if not name or not math.isfinite(strength):
        raise InputError(f"edit {text!r}; expected NAME or NAME=STRENGTH, e.g. smile or age=-3")
    return name, strength


def _named(name: str, catalogue: Mapping[str, Direction]) -> Direction:
    if name in catalogue:
        return catalogue[name]
    near = difflib.get_close_matches(name, catalogue, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InputError(f"no edit is named {name!r}, there are {', '.join(catalogue) or 'none'}{hint}")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
