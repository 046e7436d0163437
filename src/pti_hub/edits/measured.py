"""Edits in steps that are as large on every face: pictures are measured, and the strength is solved for.

Faces answer differently to the same step in latent space: a smile that shows at once on one hardly moves the mouth of
another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass

import numpy as np

from pti_hub.edits.direction import Direction, Edit, Step, check_amount
from pti_hub.errors import FaceError, InputError
from pti_hub.faces import Measure
from pti_hub.logging import get_logger

STRENGTHS = (0.5, 1.0, 1.5, 2.0, 2.5)
"""Strengths of the vector that are measured, on either side, as far as they are needed; beyond them faces distort.

They are always the same, and a straight line is drawn between them, so that an edit does not depend on those that were
measured before it.
"""


MOST_VECTORS = 2.0
"""Most vectors for each step that is asked for and possible: a face that hardly answers is not pushed to the end."""

LEAST_ROOM = 0.2
"""Share of a step that has to be possible for an edit to begin: numbers are that uncertain."""

SURE = 0.75
"""Share of the change from which on a thing that is there or not is there."""


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
        return self._step.measure

    @property
    def change(self) -> float:
        """The change that is wanted."""
        return self.strength * self._step.change

    @property
    def _step(self) -> Step:
        assert self.direction.step is not None
        return self.direction.step

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
            The edit along the vector; its strength never falls where more is asked for. Where the face goes no
            further, a warning says so.

        Raises:
            FaceError: There is no face to begin with.
        """
        known = {} if known is None else known
        if not self.strength:
            return Edit(self.direction, 0.0)
        wanted, sign = abs(self.change), 1 if self.strength > 0 else -1
        start = self._look(look, known, 0.0)
        if math.isnan(start):
            raise FaceError(f"no face is left to measure {self.direction.name!r} on")
        possible = self._possible(start, sign)
        reached = self._farther_and_farther(look, known, sign, possible)
        sizes, changes = zip(*reached, strict=True)
        if self.measure.jumps:
            found = sizes[min(int(np.searchsorted(changes, possible)), len(sizes) - 1)]
        else:
            found = float(np.interp(possible, changes, sizes))
        size = min(found, MOST_VECTORS * possible / self._step.change)
        change = float(np.interp(size, sizes, changes))
        strength = sign * size if size else 0.0
        # Who gets all the glasses there are misses nothing.
        enough = possible if possible > wanted / 2 else wanted
        if enough > change + self.measure.tolerance:
            self._say_that_it_stops(strength, change)
        return Edit(self.direction, strength)

    def _possible(self, start: float, sign: int) -> float:
        """The part of the wanted change that a face can go from where it starts."""
        room = self.measure.room(start, sign)
        if room <= LEAST_ROOM * self._step.change:
            return 0.0
        return min(abs(self.change), room) * (SURE if self.measure.jumps else 1.0)

    def _farther_and_farther(
        self, look: Callable[[float], float], known: MutableMapping[float, float], sign: int, wanted: float
    ) -> list[tuple[float, float]]:
        """Strengths from 0 that each change more than all before, and how much, until the wanted change is reached."""
        start, reached = known[0.0], [(0.0, 0.0)]
        for size in STRENGTHS:
            if reached[-1][1] >= wanted:
                break
            change = sign * (self._look(look, known, sign * size) - start)
            if math.isnan(change):
                break
            if change > reached[-1][1] + self.measure.tolerance:
                reached.append((size, change))
        return reached

    def _look(self, look: Callable[[float], float], known: MutableMapping[float, float], strength: float) -> float:
        """The number at a strength; NaN where the picture no longer shows a face."""
        if strength not in known:
            try:
                known[strength] = look(strength)
            except FaceError:
                known[strength] = math.nan
        return known[strength]

    def _say_that_it_stops(self, strength: float, change: float) -> None:
        name, measure = self.direction.name, self.measure
        get_logger(__name__).warning(
            f"{name}={self.strength:g} stops at strength {strength:g} of its vector, where the {measure.title} changes "
            f"by {change:.2g} of {abs(self.change):.2g}{measure.unit}; {name}=raw:{self.strength:g} does not measure",
            extra={"plain": f"{name} goes no further on this face"},
        )
