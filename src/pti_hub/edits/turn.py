"""Edits of a fixed magnitude: as far along a direction as turns the head by so many degrees (Table 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pti_hub.edits.direction import Direction, Edit, check_amount
from pti_hub.errors import InputError

TOLERANCE = 0.5
"""Degrees by which the turn may miss; landmarks are whole pixels, which is about a third of a degree."""

_FARTHEST = 4.0
_LOOKS = 16


@dataclass(frozen=True)
class Turn:
    """A direction and the yaw to change along it.

    Args:
        direction: The direction.
        degrees: Change of the head's yaw, positive to the picture's right.

    Raises:
        InputError: The angle is no finite number.
    """

    direction: Direction
    degrees: float

    def __post_init__(self) -> None:
        check_amount("angle", self.degrees, self.direction.name)

    def resolve(self, yaw: Callable[[float], float]) -> Edit:
        """The edit that turns the head so far, found by looking at pictures.

        Doubles the strength until the angle is passed, either way, then closes in by regula falsi.

        Args:
            yaw: Yaw, in degrees, of the picture at a strength.

        Returns:
            The edit, within `TOLERANCE`.

        Raises:
            InputError: No strength up to 4 turns the head so far.
        """
        start = yaw(0.0)
        miss = {0.0: -float(self.degrees)}

        def look(strength: float) -> bool:
            miss[strength] = yaw(strength) - start - self.degrees
            return abs(miss[strength]) <= TOLERANCE

        # 1. Which way, and a bracket.
        step = 0.25
        if abs(miss[0.0]) > TOLERANCE and not look(step):
            if miss[step] * miss[0.0] > 0 and abs(miss[step]) > abs(miss[0.0]):
                step = -step
                look(step)
            while abs(miss[step]) > TOLERANCE and miss[step] * miss[0.0] > 0 and abs(step) < _FARTHEST:
                step *= 2
                look(step)
        # 2. Between the last strength that falls short and the first that goes too far.
        while len(miss) < _LOOKS and min(map(abs, miss.values())) > TOLERANCE:
            short = [s for s, m in miss.items() if m * miss[0.0] > 0 and s * step >= 0]
            far = [s for s, m in miss.items() if m * miss[0.0] < 0 and s * step >= 0]
            if not far:
                break
            b = min(far, key=abs)
            a = max((s for s in short if abs(s) < abs(b)), key=abs)
            # Half-way where the line through both would hardly move.
            share = min(0.9, max(0.1, miss[a] / (miss[a] - miss[b])))
            look(a + share * (b - a))
        best = min(miss, key=lambda s: abs(miss[s]))
        if abs(miss[best]) > TOLERANCE:
            raise InputError(
                f"{self.direction.name!r} comes no nearer to a turn of {self.degrees:g}° than "
                f"{miss[best] + self.degrees:.1f}°, at strength {best:g}; ask for less or take another direction"
            )
        return Edit(self.direction, best)
