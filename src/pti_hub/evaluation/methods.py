"""The methods that the paper compares, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pti_hub.errors import InputError
from pti_hub.pipeline import PTIPipeline
from pti_hub.projectors import EncoderProjector, Projector, WPlusProjector, WProjector, WProjectorConfig
from pti_hub.tuners import PivotalTuner, PivotalTunerConfig


@dataclass(frozen=True)
class Method:
    """A way to invert a photograph.

    Attributes:
        name: What it is called in results.
        projector: Finds the pivot.
        tuner: Tunes the generator around it; none leaves the generator alone.
    """

    name: str
    projector: Projector
    tuner: PivotalTuner | None = None


@dataclass(frozen=True)
class Schedule:
    """How long each part may take; the defaults are section 4.5's.

    Attributes:
        w: Projection into W.
        w_plus: Projection into W+.
        tuning: Pivotal tuning.
    """

    w: WProjectorConfig = dataclasses.field(default_factory=WProjectorConfig.paper)
    w_plus: WProjectorConfig = dataclasses.field(
        default_factory=lambda: dataclasses.replace(WProjectorConfig.paper(), num_steps=2100)
    )
    tuning: PivotalTunerConfig = dataclasses.field(default_factory=PivotalTunerConfig.paper)


def _encoder(pipe: PTIPipeline, schedule: Schedule) -> Projector:
    if pipe.encoder is None:
        raise InputError(f"{pipe.name!r} has no encoder; convert a checkpoint of e4e, or leave e4e and pti_e4e out")
    return EncoderProjector(pipe.encoder)


METHODS: dict[str, tuple[Callable[[PTIPipeline, Schedule], Projector], bool]] = {
    "sg2": (lambda pipe, schedule: WProjector(schedule.w), False),
    "sg2_wplus": (lambda pipe, schedule: WPlusProjector(schedule.w_plus), False),
    "e4e": (_encoder, False),
    "pti": (lambda pipe, schedule: WProjector(schedule.w), True),
    "pti_wplus": (lambda pipe, schedule: WPlusProjector(schedule.w_plus), True),
    "pti_e4e": (_encoder, True),
}
"""By name: what makes the projector, and whether the generator is tuned."""


def named_methods(names: Sequence[str], pipe: PTIPipeline, schedule: Schedule | None = None) -> list[Method]:
    """Methods by name.

    Args:
        names: Of `METHODS`.
        pipe: The pipeline; its encoder is that of `"e4e"`.
        schedule: How long each part may take.

    Raises:
        InputError: There is no such method, or it needs an encoder and there is none.
    """
    schedule = schedule or Schedule()
    if unknown := [name for name in names if name not in METHODS]:
        raise InputError(f"no method is named {', '.join(unknown)}; there are {', '.join(METHODS)}")
    made = []
    for name in names:
        projector, tuned = METHODS[name]
        made.append(Method(name, projector(pipe, schedule), PivotalTuner(schedule.tuning) if tuned else None))
    return made
