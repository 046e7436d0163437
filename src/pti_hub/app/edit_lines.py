"""The edits of one face as lines of text, which the sliders change and a person can write."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pti_hub.edits import Direction, Edit
from pti_hub.errors import InputError

MOST_LINES = 40

STRONGEST = 3.0
"""Strength at the end of a slider."""


def read_lines(text: str) -> list[str]:
    """Edits, one per line; empty lines are left out.

    Raises:
        InputError: There are more than `MOST_LINES`.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_LINES:
        raise InputError(f"{len(lines)} edits; expected at most {MOST_LINES}")
    return lines


def name_of(line: str) -> str:
    """What an edit is called."""
    return line.partition("=")[0].strip()


def with_drags(lines: Sequence[str], drags: Mapping[str, Direction]) -> list[str | Edit]:
    """The edits, of which those that are drags are looked up.

    Raises:
        InputError: The strength of a drag is no number.
    """
    return [_drag(line, drags[name_of(line)]) if name_of(line) in drags else line for line in lines]


def _drag(line: str, direction: Direction) -> Edit:
    _, separator, amount = line.partition("=")
    try:
        strength = float(amount) if separator else 1.0
    except ValueError:
        raise InputError(f"edit {line!r}; expected a drag's strength, e.g. {direction.name}=0.5") from None
    return Edit(direction, strength)


def strength_of(lines: Sequence[str], name: str) -> float:
    """Where a slider stands: at 0 without such an edit, or where the amount is no plain number; never past its end."""
    for line in lines:
        edit, separator, amount = (part.strip() for part in line.partition("="))
        if edit == name:
            try:
                strength = float(amount) if separator else 1.0
            except ValueError:
                return 0.0
            return min(max(strength, -STRONGEST), STRONGEST) if math.isfinite(strength) else 0.0
    return 0.0


def with_strength(lines: Sequence[str], name: str, strength: float) -> list[str]:
    """The edits after a slider moved: an edit keeps its place, a new one comes last, one of strength 0 goes."""
    line = [f"{name}={strength:g}"] if strength else []
    places = [i for i, line in enumerate(lines) if name_of(line) == name]
    if not places:
        return [*lines, *line]
    kept = [line for i, line in enumerate(lines) if i not in places]
    return [*kept[: places[0]], *line, *kept[places[0] :]]
