"""The edits of one face as lines of text, which the sliders change and a person can write."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    places = [i for i, line in enumerate(lines) if line.partition("=")[0].strip() == name]
    if not places:
        return [*lines, *line]
    kept = [line for i, line in enumerate(lines) if i not in places]
    return [*kept[: places[0]], *line, *kept[places[0] :]]
