"""The parts of a pipeline by name, and what keeps them consistent."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from typing_extensions import Self, Unpack

from pti_hub.edits import (
    AnyEdit,
    Direction,
    Edit,
    EditInput,
    EditParser,
    GANSpace,
    LatentMapper,
    MeasuredEdit,
    StyleEdit,
    YawEdit,
    ganspace,
)
from pti_hub.edits.learning import DEFAULT_TEXT_MODEL, Samples, TextModel, Words
from pti_hub.encoders import Encoder
from pti_hub.errors import InputError, MissingDependencyError, WeightsError
from pti_hub.faces import MEASURES
from pti_hub.generators import Generator, broadcast_ws
from pti_hub.logging import get_logger
from pti_hub.perceptual import LPIPS
from pti_hub.personalization import Base, Personalization
from pti_hub.pipelines.presets import PRESETS
from pti_hub.projectors import REFINED, EncoderProjector, Projector, WProjector
from pti_hub.storage import NETWORK_FOLDERS, DownloadOptions, fingerprint
from pti_hub.tuners import PivotalTuner

NETWORKS = NETWORK_FOLDERS
"""The parts that have weights."""

Measurements: TypeAlias = "dict[tuple[Direction, str], dict[float, float]]"
"""Of one personalisation, by a direction and where it starts, a digest of the latent and edits of styles: a number by
strength."""


class Components:
    """The parts of a pipeline, which are attributes and can be swapped.

    Args:
        generator: G, see `pti_hub.generators.Generator`.
        perceptual: LPIPS network of tuning and metrics.
        projector: Image → pivot. `"auto"` asks the encoder and refines its latent by 12 steps of Eq. 1, or is a
            `WProjector` where there is no encoder.
        projector_perceptual: LPIPS network of the projection; `perceptual` where there is none.
        encoder: A network from pictures to latents.
        tuner: Pivot → tuned weights.
        edits: Latent directions and mappers by name.
        aligns_faces: Whether photographs are of faces, which are brought to FFHQ's alignment.
        name: What a personalisation calls its base.
        origins: Where each weight comes from and under which licence: dicts of `"part"`, `"origin"`, `"licence"`.

    Attributes:
        base: What a personalisation remembers of the generator.
        personalization: The loaded one, if there is one.
        progress_bar_config: Arguments of tqdm's bars.
        weights_are_rounded: Whether the generator's weights are a copy of the base's in another precision.
    """

    def __init__(
        self,
        generator: Generator,
        perceptual: LPIPS,
        projector: Projector | Literal["auto"] | None = "auto",
        projector_perceptual: LPIPS | None = None,
        encoder: Encoder | None = None,
        tuner: PivotalTuner | None = None,
        edits: Mapping[str, Direction | LatentMapper] | None = None,
        aligns_faces: bool = True,
        name: str = "custom",
        origins: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self._name = name
        self.generator = generator
        self.perceptual = perceptual
        self.projector_perceptual = projector_perceptual or perceptual
        self._encoder = encoder
        self._projector: Projector = WProjector()
        # The property knows what "auto" stands for.
        self.projector = projector
        self.tuner = tuner or PivotalTuner()
        self.edits = dict(edits or {})
        self.aligns_faces = aligns_faces
        self.text_model = DEFAULT_TEXT_MODEL
        self.origins = [dict(origin) for origin in origins]
        self.personalization: Personalization | None = None
        self.progress_bar_config: dict[str, Any] = {}

    @property
    def components(self) -> dict[str, Any]:
        """The arguments that make such a pipeline again, of the same parts: `PTIPipeline(**pipe.components)`."""
        names = ("generator", "perceptual", "projector", "projector_perceptual", "encoder", "tuner", "edits")
        return {name: getattr(self, name) for name in (*names, "aligns_faces", "name", "origins")}

    @property
    def generator(self) -> Generator:
        """G; a generator that is set is frozen, and becomes the base of personalisations."""
        return self._generator

    @generator.setter
    def generator(self, generator: Generator) -> None:
        generator.requires_grad_(False)
        self._generator = generator
        self.base = Base(self._name, fingerprint(generator))
        self.weights_are_rounded = False
        self._principal_components = functools.cache(functools.partial(ganspace, generator))
        self._words: Words | None = None
        self._measurements: WeakKeyDictionary[Personalization, Measurements] = WeakKeyDictionary()

    @property
    def encoder(self) -> Encoder | None:
        """The projector's encoder, or one that waits for an `EncoderProjector`; `None` where there is none."""
        return self._projector.encoder if isinstance(self._projector, EncoderProjector) else self._encoder

    @encoder.setter
    def encoder(self, encoder: Encoder | None) -> None:
        if isinstance(self._projector, EncoderProjector):
            config = self._projector.config
            self._projector = WProjector() if encoder is None else EncoderProjector(encoder, config)
        self._encoder = encoder

    @property
    def projector(self) -> Projector:
        """Image → pivot; `"auto"` can be set too, and is replaced by what it stands for."""
        return self._projector

    @projector.setter
    def projector(self, projector: Projector | Literal["auto"] | None) -> None:
        # A projector that is replaced leaves its encoder for the next one.
        self._encoder = self.encoder
        if projector is None or isinstance(projector, str):
            if projector not in (None, "auto"):
                raise InputError(f"projector={projector!r}; expected 'auto' or a projector such as WProjector()")
            projector = WProjector() if self._encoder is None else EncoderProjector(self._encoder, REFINED)
        self._projector = projector

    @property
    def text_model(self) -> str:
        """Hub id or folder of the CLIP, SigLIP or similar model that edits in words ask; loaded with the first one."""
        return self._text_model

    @text_model.setter
    def text_model(self, name: str) -> None:
        TextModel(name)
        self._text_model, self._words = name, None

    @property
    def words(self) -> Words:
        """Directions from phrases; the first one takes minutes, and keeps what it rendered and embedded."""
        if self._words is None:
            samples = functools.partial(Samples, self.generator, progress_bar_config=self.progress_bar_config)
            neutral = "a face" if self.aligns_faces else "a photo"
            self._words = Words(samples, TextModel(self.text_model, self.device), neutral)
        return self._words

    @property
    def principal_components(self) -> GANSpace:
        """The principal components of the generator's W: seconds of work, done once."""
        return self._principal_components()

    @property
    def name(self) -> str:
        """What a personalisation calls its base."""
        return self._name

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.generator.w_avg.device

    @property
    def identities(self) -> dict[str, Tensor]:
        """Pivots `[w_dim]` or `[num_ws, w_dim]` of the loaded personalisation, by name."""
        return {} if self.personalization is None else self.personalization.pivots

    def load_personalization(
        self, personalization: Personalization | str | Path, **download: Unpack[DownloadOptions]
    ) -> None:
        """Make the identities of a personalisation known by name.

        Args:
            personalization: The value, a folder, or a Hub id.
            **download: See `pti_hub.storage.DownloadOptions`.

        Raises:
            InputError: It was tuned on another generator.
            WeightsError: It can't be had, or is damaged.
        """
        if not isinstance(personalization, Personalization):
            personalization = Personalization.from_pretrained(personalization, **download)
        personalization.check(self.generator, self.base)
        self.personalization = personalization

    def measurements(self, personalization: Personalization) -> Measurements:
        """What was measured of a personalisation's pictures so far, to be added to.

        Args:
            personalization: The personalisation.
        """
        return self._measurements.setdefault(personalization, {})

    def parse(self, edit: EditInput | None, given: Sequence[Personalization] = ()) -> list[AnyEdit]:
        """Edits as a user writes them, looked up and tried on a latent: call it before long work.

        Args:
            edit: As in `PTIPipeline.__call__`.
            given: Personalisations whose identities can be named beside the loaded ones.

        Raises:
            InputError: An edit is unknown, malformed or of another generator.
            MissingDependencyError: An edit is by an angle and dlib is not installed, or in words without transformers.
            WeightsError: The same, and dlib's models or the text model can't be had.
        """
        pivots = {name: pivot for p in given for name, pivot in p.pivots.items()}
        known = self.identities | pivots
        phrases: list[str] = []

        def postpone(phrase: str) -> Direction:
            phrases.append(phrase)
            return Direction(phrase or "text:", self.generator.w_avg)

        parser = EditParser(self.edits, self.generator, known, self._principal_components, postpone)
        found = parser.parse(edit)
        if phrases:
            # The first one takes minutes, and by now no other edit is misspelt.
            found = dataclasses.replace(parser, words=self.words.direction).parse(edit)
        edits = [_measurable(parsed, self.perceptual) for parsed in found]
        ws = broadcast_ws(self.generator, self.generator.w_avg[None])  # [1, num_ws, w_dim]
        for parsed in edits:
            if isinstance(parsed, StyleEdit):
                parsed.apply(self.generator, {})
            else:
                (Edit(parsed.direction) if isinstance(parsed, (MeasuredEdit, YawEdit)) else parsed).apply(ws)
        return edits

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """Move the networks to a device, cast them to a type, or both; tuning itself is always in float32.

        Args:
            device: Where to; they stay by default.
            dtype: The weights' type; it stays by default.

        Raises:
            InputError: The device is unknown or absent, or the type is no floating-point one.
        """
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise InputError(f"dtype={dtype}; expected a floating-point type such as torch.float32")
        self.weights_are_rounded |= dtype not in (None, torch.float32)
        self._words = None  # its text model lies where the generator lay
        try:
            for part in NETWORKS:
                if (network := getattr(self, part)) is not None:
                    network.to(device=device, dtype=dtype)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"device={device!r} can't be used: {str(error).splitlines()[0]}") from error
        return self

    def set_preset(self, preset: str) -> None:
        """Take the schedule of a preset for projector and tuner.

        `"default"` begins at the encoder, of whatever kind, if there is one; `"paper"` is section 4.5's schedule.

        Args:
            preset: A name of `PRESETS`.

        Raises:
            InputError: No such preset.
        """
        if preset not in PRESETS:
            raise InputError(f"preset={preset!r}; expected one of: {', '.join(PRESETS)}")
        projector, tuner = PRESETS[preset]
        self.projector = "auto" if projector is None else WProjector(projector)
        self.tuner = PivotalTuner(tuner)

    def set_progress_bar_config(self, **config: Any) -> None:
        """Set the arguments of tqdm's bars; `disable=True` silences them.

        Args:
            **config: Arguments of `tqdm.tqdm`.
        """
        self.progress_bar_config = config


def _measurable(edit: AnyEdit, perceptual: LPIPS) -> AnyEdit:
    """The edit, or its plain vector where steps can't be measured; an angle can't do without."""
    if isinstance(edit, YawEdit):
        MEASURES["yaw"].check(perceptual)
    elif isinstance(edit, MeasuredEdit):
        try:
            edit.measure.check(perceptual)
        except (MissingDependencyError, WeightsError, InputError) as error:
            get_logger(__name__).warning(f"{edit.direction.name!r} takes its plain vector, unmeasured: {error}")
            return edit.plain
    return edit
