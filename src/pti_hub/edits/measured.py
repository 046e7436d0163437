"""Edits in steps that are as large on every face: pictures are measured, and the strength is solved for.

Faces answer differently to the same step in latent space: a smile that shows at once on one hardly moves the mouth of
another.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass

from pti_hub.edits.direction import Direction, Edit, check_amount
from pti_hub.errors import FaceError, InputError
from pti_hub.faces import MEASURES, Measure
from pti_hub.logging import get_logger

STRENGTHS = (0.5, 1.0, 1.5, 2.0, 3.0)
"""Strengths of the vector that are measured, on either side, as far as they are needed; beyond them faces distort.

They are always the same, and a straight line is drawn between them, so that an edit does not depend on those that were
measured before it.
"""


@dataclass(frozen=True)
class MeasuredEdit:
    """A direction and a number of measured steps, `Direction.step`, to go along it.

    Args:
        direction: A direction with a step.
        strength: Number of steps; negative strengths go the opposite way.

    Raises:
        InputError: The direction has no step, or the strength is not a finite number.
    """

    direction: Direction
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.direction.step is None:
            raise InputError(f"direction {self.direction.name!r} has no measured step; use an Edit")
        check_amount("strength", self.strength, self.direction.name)

    @property
    def measure(self) -> Measure:
        """What is measured."""
        assert self.direction.step is not None
        return MEASURES[self.direction.step.measure]

    @property
    def change(self) -> float:
        """The change that is wanted."""
        assert self.direction.step is not None
        return self.strength * self.direction.step.change

    @property
    def plain(self) -> Edit:
        """As many steps of the vector, without looking at the picture."""
        return Edit(self.direction, self.strength)

    def resolve(self, look: Callable[[float], float], known: MutableMapping[float, float] | None = None) -> Edit:
        """Find the strength of the vector that changes the picture by that much, or as much as this face can.

        Args:
            look: Measures the picture at a strength of the vector.
            known: What was measured of this face before, by strength; what is measured now is added.

        Returns:
            The edit along the vector. Where the face goes no further, a warning says so.

        Raises:
            FaceError: There is no face to begin with.
        """
        known = {} if known is None else known
        if not self.strength:
            return Edit(self.direction, 0.0)
        sign = 1 if self.strength > 0 else -1
        changes = {0.0: 0.0}  # in the wanted sense
        for size in STRENGTHS:
            try:
                for strength in (0.0, sign * size):
                    if strength not in known:
                        known[strength] = look(strength)
            except FaceError:
                if 0.0 not in known:
                    raise
                break  # at this strength the picture no longer shows a face
            changes[size] = sign * (known[sign * size] - known[0.0])
            if changes[size] >= abs(self.change):
                return Edit(self.direction, sign * self._between(changes))
        return Edit(self.direction, sign * self._farthest(changes))

    def _between(self, changes: dict[float, float]) -> float:
        """The strength at which the straight line through the last two changes reaches the wanted one."""
        (a, low), (b, high) = list(changes.items())[-2:]
        return a + (abs(self.change) - low) / (high - low) * (b - a)

    def _farthest(self, changes: dict[float, float]) -> float:
        """The smallest strength that goes as far as this face does; a warning says how far that is."""
        name, measure = self.direction.name, self.measure
        most = max(changes.values())
        farthest = next(size for size, change in changes.items() if change >= most - measure.tolerance)
        if most < abs(self.change) - measure.tolerance:
            get_logger(__name__).warning(
                f"{name}={self.strength:g} stops early, this face goes no further: its {measure.title} changes by "
                f"{changes[farthest]:.2f} of {abs(self.change):.2f}{measure.unit}; {name}=raw:{self.strength:g} does "
                "not measure"
            )
        return farthest
