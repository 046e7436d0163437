"""What the shipped edits are to do: one recipe per edit."""

from __future__ import annotations

from typing import NamedTuple

from attribute_names import ATTRIBUTES, BY_EYE


class Recipe(NamedTuple):
    """How an edit is learned.

    Attributes:
        step: Length of one step, chosen by eye, in standard deviations of the attribute of the same name.
        moves: Attributes that may move along, because they are a part of what is meant.
        first: First layer that moves; coarser ones render the shape of the head, and glasses.
        last: Last layer that moves; finer ones render colours and background.
        smile: Steps of `smile`, corrected, that are added to each step: without them, faces that smile would do both
            at once.
        measure: What a step is measured by; the attribute of the same name if it is empty.
        change: By how much the vector changes it; if this is 0, the length decides.
        share: Share of the vector's change that is one step, less than 1 where a face would not stay the same person's.
        corrected: Whether the step is recombined by measurement, see `independent`.
    """

    step: float
    moves: tuple[str, ...] = ()
    first: int = 0
    last: int = 9
    smile: float = 0.0
    measure: str = ""
    change: float = 0.0
    share: float = 1.0
    corrected: bool = True


EXPRESSIONS = ("smile", "angry", "surprised", "sad")
RECIPES = {
    # Corrected, it moves the others by 0.14 instead of 0.10 and the identity by 0.24 instead of 0.22: docs/edits.md.
    "smile": Recipe(
        1.0, (*EXPRESSIONS, "mouth_width", "mouth_open"), measure="mouth_width", change=0.15, corrected=False
    ),
    "age": Recipe(1.0, ("grey_hair", "hair_light"), first=3, change=12.0, share=10 / 12),
    "pose": Recipe(1.0, measure="yaw", change=15.0),
    "pitch": Recipe(1.0, change=10.0),
    "gender": Recipe(0.7, (*BY_EYE, "tint")),
    "eyes_open": Recipe(1.6, ("surprised",)),
    "mouth_open": Recipe(1.5, ("surprised", "sad", "angry", "mouth_width")),
    "angry": Recipe(1.1, ("surprised", "sad", "brows", "mouth_width"), smile=-0.5),
    "surprised": Recipe(1.6, ("angry", "sad", "mouth_open", "eyes_open", "mouth_width"), share=0.85),
    "sad": Recipe(1.3, ("angry", "surprised", "brows", "mouth_width"), smile=-0.7, share=0.7),
    "glasses": Recipe(1.2, last=7),
    "beard": Recipe(2.4),
    "bangs": Recipe(1.2, last=7),
    "hair_light": Recipe(1.6, ("grey_hair",), first=4, last=11),
    "grey_hair": Recipe(3.4, ("hair_light",), first=4, last=11),
    "long_hair": Recipe(1.6, last=7),
    "curly": Recipe(1.0),
    "lipstick": Recipe(2.2, first=4, last=11),
    "brows": Recipe(1.7, first=3),
}
"""The edits, in the order in which they are listed."""
# What steps are corrected for; other attributes, such as a beard, answer from some point on and not in proportion.
CORRECTED = ("smile", "age", "pose", "pitch", "gender", "eyes_open", "mouth_open", "skin", "tint", "glasses", "bangs")
# Directions that are no edits, but that corrections need.
HELPERS = {"skin": Recipe(1.0, last=11), "tint": Recipe(1.0, last=11)}
HELD = [name for name in ATTRIBUTES if name != "mouth_width"]
