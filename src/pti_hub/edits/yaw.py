"""Edits by an angle: as far along a direction as turns the head by a given number of degrees (Table 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pti_hub.edits.direction import Direction, Edit, check_amount
from pti_hub.errors import FaceError, InputError

TOLERANCE = 0.5
"""Largest error of the turn in degrees; landmarks are whole pixels, which is about a third of a degree."""

_FIRST_STRENGTH = 0.25
_STRENGTHS_PER_SIDE = 5
_MAX_MEASUREMENTS = 24


@dataclass(frozen=True)
class YawEdit:
    """A direction and the change of yaw to reach along it.

    Args:
        direction: The direction.
        degrees: Change of the head's yaw, positive to the picture's right.

    Raises:
        InputError: The angle is not a finite number.
    """

    direction: Direction
    degrees: float

    def __post_init__(self) -> None:
        check_amount("angle", self.degrees, self.direction.name)

    def resolve(self, yaw: Callable[[float], float]) -> Edit:
        """Find the strength that turns the head by the angle, by measuring pictures.

        The strength is doubled until the turn passes the angle, first with the more promising sign, then with the other
        one. Regula falsi then narrows the interval.

        Args:
            yaw: Measures the yaw, in degrees, of the picture at a strength.

        Returns:
            The edit; its turn differs from the angle by at most `TOLERANCE`.

        Raises:
            InputError: No strength between -4 and 4 turns the head that far.
        """
        start = yaw(0.0)
        errors = {0.0: -float(self.degrees)}  # turn minus angle, by strength

        def measure(strength: float) -> bool:
            errors[strength] = yaw(strength) - start - self.degrees
            return abs(errors[strength]) <= TOLERANCE

        def closest(strengths: Iterable[float]) -> float:
            return min(strengths, key=lambda s: abs(errors[s]))

        # 1. Find a strength, of either sign, that turns too far.
        side, beyond = _FIRST_STRENGTH, None
        if abs(errors[0.0]) > TOLERANCE and not measure(side):
            if abs(errors[side]) > abs(errors[0.0]) and errors[side] * errors[0.0] > 0:
                side = -side
            for step in (side * 2**i for side in (side, -side) for i in range(_STRENGTHS_PER_SIDE)):
                try:
                    if step not in errors and measure(step):
                        break
                except FaceError:
                    continue  # at this strength the picture no longer shows a face
                if errors[step] * errors[0.0] < 0:
                    beyond = step
                    break
        # 2. Narrow the interval between a strength that turns too little and one that turns too far.
        while beyond is not None and abs(errors[closest(errors)]) > TOLERANCE and len(errors) < _MAX_MEASUREMENTS:
            short = [s for s, e in errors.items() if s * beyond >= 0 and abs(s) < abs(beyond) and e * errors[0.0] > 0]
            a, b = max(short, key=abs), beyond
            # Keep away from both ends, where regula falsi would hardly shrink the interval.
            fraction = min(0.9, max(0.1, errors[a] / (errors[a] - errors[b])))
            middle = a + fraction * (b - a)
            measure(middle)
            if errors[middle] * errors[0.0] < 0:
                beyond = middle
        best = closest(errors)
        if abs(errors[best]) > TOLERANCE:
            raise InputError(
                f"{self.direction.name!r} comes no nearer to a turn of {self.degrees:g}° than "
                f"{errors[best] + self.degrees:.1f}°, at strength {best:g}; give a smaller angle or another direction"
            )
        return Edit(self.direction, best)
