"""Edits of a fixed magnitude: as far along a direction as turns the head by so many degrees (Table 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pti_hub.edits.direction import Direction, Edit, check_amount
from pti_hub.errors import FaceError, InputError

TOLERANCE = 0.5
"""Degrees by which the turn may miss; landmarks are whole pixels, which is about a third of a degree."""

_FIRST = 0.25
_DOUBLINGS = 5
_LOOKS = 24


@dataclass(frozen=True)
class YawEdit:
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

        Doubles the strength until the angle is passed, first the way that looks right, then the other; closes in by
        regula falsi.

        Args:
            yaw: Yaw, in degrees, of the picture at a strength.

        Returns:
            The edit, within `TOLERANCE`.

        Raises:
            InputError: No strength up to 4, either way, turns the head so far.
        """
        start = yaw(0.0)
        miss = {0.0: -float(self.degrees)}

        def look(strength: float) -> bool:
            miss[strength] = yaw(strength) - start - self.degrees
            return abs(miss[strength]) <= TOLERANCE

        def near(strengths: Iterable[float]) -> float:
            return min(strengths, key=lambda s: abs(miss[s]))

        # 1. A bracket: on one side or the other a strength that goes too far.
        side, beyond = _FIRST, None
        if abs(miss[0.0]) > TOLERANCE and not look(side):
            if abs(miss[side]) > abs(miss[0.0]) and miss[side] * miss[0.0] > 0:
                side = -side
            for step in (side * 2**i for side in (side, -side) for i in range(_DOUBLINGS)):
                try:
                    if step not in miss and look(step):
                        break
                except FaceError:
                    continue  # too far to be a face
                if miss[step] * miss[0.0] < 0:
                    beyond = step
                    break
        # 2. Between the last strength that falls short and the first that goes too far.
        while beyond is not None and abs(miss[near(miss)]) > TOLERANCE and len(miss) < _LOOKS:
            same = [s for s, m in miss.items() if s * beyond >= 0 and abs(s) < abs(beyond) and m * miss[0.0] > 0]
            a, b = max(same, key=abs), beyond
            # Not too near either end, where the line through both would hardly move.
            share = min(0.9, max(0.1, miss[a] / (miss[a] - miss[b])))
            middle = a + share * (b - a)
            look(middle)
            if miss[middle] * miss[0.0] < 0:
                beyond = middle
        best = near(miss)
        if abs(miss[best]) > TOLERANCE:
            raise InputError(
                f"{self.direction.name!r} comes no nearer to a turn of {self.degrees:g}° than "
                f"{miss[best] + self.degrees:.1f}°, at strength {best:g}; ask for less or take another direction"
            )
        return Edit(self.direction, best)
