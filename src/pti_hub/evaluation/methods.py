"""The methods that the paper compares, by name, and their schedules."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pti_hub.errors import InputError
from pti_hub.evaluation.official import OfficialProjector, OfficialTuner
from pti_hub.pipelines import PTIPipeline
from pti_hub.projectors import (
    REFINED,
    EncoderProjector,
    EncoderProjectorConfig,
    MeanProjector,
    Projector,
    RandomProjector,
    WPlusProjector,
    WProjector,
    WProjectorConfig,
)
from pti_hub.tuners import PivotalTuner, PivotalTunerConfig

ALPHAS = (2, 8, 16, 30, 60, 120)
"""The values of α in Figure 17."""


SCHEDULES = ("paper", "default", "saved")
"""Names of schedules; see `Schedule.named`."""


@dataclass(frozen=True)
class Method:
    """A way to invert a photograph.

    Attributes:
        name: Name of the method in results.
        projector: Finds the pivot.
        tuner: Tunes the generator around the pivot; `None` leaves the generator unchanged.
    """

    name: str
    projector: Projector
    tuner: PivotalTuner | OfficialTuner | None = None


@dataclass(frozen=True)
class Schedule:
    """Settings of the methods' parts; the defaults are those of the paper's section 4.5.

    Attributes:
        w: Projection into W.
        w_plus: Projection into W+.
        encoder: Refinement of the encoder's latent; no refinement by default.
        tuning: Pivotal tuning, for all methods except those on locality.
        locality: Pivotal tuning with locality regularisation, for the methods on locality.
    """

    w: WProjectorConfig = dataclasses.field(default_factory=WProjectorConfig.paper)
    w_plus: WProjectorConfig = dataclasses.field(
        default_factory=lambda: dataclasses.replace(WProjectorConfig.paper(), num_steps=2100)
    )
    encoder: EncoderProjectorConfig = dataclasses.field(default_factory=EncoderProjectorConfig)
    tuning: PivotalTunerConfig = dataclasses.field(default_factory=PivotalTunerConfig.paper)
    locality: PivotalTunerConfig = dataclasses.field(
        default_factory=lambda: dataclasses.replace(PivotalTunerConfig.paper(), locality_weight=0.1)
    )

    @classmethod
    def named(cls, name: str, pipe: PTIPipeline) -> Schedule:
        """A schedule by name.

        Args:
            name: `"paper"` for the paper's schedule, `"default"` for the package's, or `"saved"` for the schedule that
                the pipeline's projector and tuner have.
            pipe: The pipeline.

        Raises:
            InputError: No schedule has this name.
        """
        if name not in SCHEDULES:
            raise InputError(f"preset={name!r}; expected one of {', '.join(SCHEDULES)}")
        if name == "paper":
            return cls()
        if name == "default":
            return cls.short()
        projector, tuning = pipe.projector.config, pipe.tuner.config
        return cls.short(
            projector if isinstance(projector, WProjectorConfig) else None,
            tuning if isinstance(tuning, PivotalTunerConfig) else None,
            projector if isinstance(projector, EncoderProjectorConfig) else None,
        )

    @classmethod
    def short(
        cls,
        w: WProjectorConfig | None = None,
        tuning: PivotalTunerConfig | None = None,
        encoder: EncoderProjectorConfig | None = None,
    ) -> Schedule:
        """The package's default settings, or the given ones, with 500 steps in W+; whole pictures are compared.

        Args:
            w: Projection in W.
            tuning: Tuning.
            encoder: Projection from the encoder.
        """
        w, tuning = w or WProjectorConfig(), dataclasses.replace(tuning or PivotalTunerConfig(), weighs_faces=False)
        locality = dataclasses.replace(tuning, locality_weight=0.1)
        w_plus = dataclasses.replace(w, num_steps=500)
        return cls(w, w_plus, encoder or REFINED, tuning, locality)

    def changed(self, settings: Sequence[str]) -> Schedule:
        """A copy of the schedule with some settings changed.

        Args:
            settings: Changes `part.name=value`, such as `w_plus.num_steps=300`.

        Returns:
            The new schedule.

        Raises:
            InputError: The part or name is unknown, or the value is invalid.
        """
        schedule = self
        for setting in settings:
            path, _, text = setting.partition("=")
            part, _, name = path.partition(".")
            config = getattr(schedule, part) if part in _names(schedule) else None
            if config is None or name not in _names(config):
                names = f"of {part}: {', '.join(_names(config))}" if config else f"parts: {', '.join(_names(schedule))}"
                raise InputError(f"{setting!r} sets nothing; expected PART.NAME=VALUE, {names}")
            try:
                value = json.loads(text)
            except ValueError:
                value = text
            schedule = dataclasses.replace(schedule, **{part: dataclasses.replace(config, **{name: value})})
        return schedule


def _names(config: object) -> list[str]:
    return [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]


def _encoder(pipe: PTIPipeline, schedule: Schedule) -> Projector:
    if pipe.encoder is None:
        raise InputError(
            f"{pipe.name!r} has no encoder; convert a checkpoint of e4e, train one with examples/train_encoder.py, or "
            "leave out the methods e4e and pti_e4e"
        )
    return EncoderProjector(pipe.encoder, schedule.encoder)


Maker = Callable[[str, PTIPipeline, Schedule], Method]
"""Makes the method of a given name for a pipeline and a schedule."""


def _maker(
    projector: Callable[[PTIPipeline, Schedule], Projector],
    tuning: Callable[[Schedule], PivotalTunerConfig] | None = None,
) -> Maker:
    return lambda name, pipe, schedule: Method(
        name, projector(pipe, schedule), PivotalTuner(tuning(schedule)) if tuning else None
    )


def _w(pipe: PTIPipeline, schedule: Schedule) -> Projector:
    return WProjector(schedule.w)


def _w_plus(pipe: PTIPipeline, schedule: Schedule) -> Projector:
    return WPlusProjector(schedule.w_plus)


def _moving_pivot(schedule: Schedule) -> PivotalTunerConfig:
    return dataclasses.replace(schedule.tuning, pivot_learning_rate=5e-3)


def _with_alpha(alpha: float) -> Callable[[Schedule], PivotalTunerConfig]:
    return lambda schedule: dataclasses.replace(schedule.locality, locality_alpha=float(alpha))


def _pipeline(name: str, pipe: PTIPipeline, schedule: Schedule) -> Method:
    return Method(name, pipe.projector, pipe.tuner)


def _official(name: str, pipe: PTIPipeline, schedule: Schedule) -> Method:
    return Method(name, OfficialProjector(), OfficialTuner())


METHODS: dict[str, Maker] = {
    "sg2": _maker(_w),
    "sg2_wplus": _maker(_w_plus),
    # Uses whichever encoder the pipeline has.
    "e4e": _maker(_encoder),
    "pti": _maker(_w, lambda schedule: schedule.tuning),
    "pti_wplus": _maker(_w_plus, lambda schedule: schedule.tuning),
    "pti_e4e": _maker(_encoder, lambda schedule: schedule.tuning),
    # Fig. 16 C to F
    "pti_mean": _maker(lambda pipe, schedule: MeanProjector(), lambda schedule: schedule.tuning),
    "pti_mean_moving": _maker(lambda pipe, schedule: MeanProjector(), _moving_pivot),
    "pti_random": _maker(lambda pipe, schedule: RandomProjector(), lambda schedule: schedule.tuning),
    "pti_random_moving": _maker(lambda pipe, schedule: RandomProjector(), _moving_pivot),
    # Fig. 15 and 17
    "pti_local": _maker(_w, lambda schedule: schedule.locality),
    **{f"pti_alpha{alpha}": _maker(_w, _with_alpha(alpha)) for alpha in ALPHAS},
    # Whatever the schedule: the pipeline's own parts, where the face counts more, and the official code's arithmetic.
    "pipeline": _pipeline,
    "official": _official,
}
"""Makers of the methods, by name. Add a maker to use your own method by name."""


def named_methods(names: Sequence[str], pipe: PTIPipeline, schedule: Schedule | None = None) -> list[Method]:
    """Methods by name.

    Args:
        names: Names from `METHODS`.
        pipe: The pipeline, which provides the encoder of `"e4e"` and `"pti_e4e"`.
        schedule: Settings of the methods' parts; the paper's by default.

    Returns:
        The methods, in the order of the names.

    Raises:
        InputError: A method is unknown, or needs an encoder that the pipeline lacks.
    """
    if not names or (unknown := [name for name in names if name not in METHODS]):
        problem = f"no method is named {', '.join(unknown)}" if names else "no method was named"
        raise InputError(f"{problem}; there are {', '.join(METHODS)}")
    schedule = schedule or Schedule()
    return [METHODS[name](name, pipe, schedule) for name in names]
