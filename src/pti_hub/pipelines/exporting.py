"""An identity's tuned generator for other code, and as a page for the browser."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from pti_hub.checkpoints.export import FILES, Person, check_place, export
from pti_hub.checkpoints.page import SUFFIX, Slider, check_page, write_page
from pti_hub.edits import Direction, Edit, MeasuredEdit
from pti_hub.errors import InputError
from pti_hub.generators import Generator, MobileStyleGAN
from pti_hub.logging import get_logger
from pti_hub.optim import helpers_end
from pti_hub.personalization import Personalization, add_deltas
from pti_hub.pipelines.components import Components
from pti_hub.pipelines.identities import Identities, require_identities
from pti_hub.pipelines.rendering import apply_edits

STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Strengths of an edit that are measured for a page, whose sliders interpolate between them."""


@helpers_end()
def export_identity(
    components: Components,
    file: str | Path,
    identity: Personalization | str | None = None,
    runtime: str | Path | None = None,
) -> str:
    """Write the tuned generator θ* of an identity, and its pivot, to a file for other code or for the browser.

    Whoever has the file can make pictures of this person. No photograph is in it.

    Args:
        components: The pipeline.
        file: File to write: `.safetensors`, `.pt` or `.onnx`, see `pti_hub.checkpoints.export.export`; or, of a
            MobileStyleGAN, `.html`: a page with sliders for the pipeline's directions, whose strengths are measured on
            this face.
        identity: A personalisation with one pivot, or the name of a loaded one; by default the only loaded one.
        runtime: For a page, the folder with the files of onnxruntime-web; by default
            `node_modules/onnxruntime-web/dist`.

    Returns:
        The name of the identity.

    Raises:
        InputError: No such identity, or several; the suffix or the kind of generator is not supported; or the folder
            doesn't exist.
        MissingDependencyError: What writes graphs, or the runtime of a page, is not installed.
        SaveError: The disk is full, or the folder is not writable.
    """
    file = Path(file)
    check_place(file, (*FILES, SUFFIX))
    chosen = _one_identity(components, identity)
    folder = None if runtime is None else Path(runtime)
    if file.suffix == SUFFIX:
        check_page(file, components.generator, folder)
    personalization, name = chosen.personalization, chosen.names[0]
    origins = personalization.origins or components.origins
    person = Person(name, personalization.pivots[name].cpu().float(), origins)
    generator = _tuned(components.generator, personalization)
    if isinstance(generator, MobileStyleGAN) and file.suffix == SUFFIX:
        write_page(file, generator, person, measure_sliders(components, personalization, name), folder)
    else:
        export(generator, file, person)
    return name


@torch.no_grad()
def measure_sliders(components: Components, personalization: Personalization, name: str) -> list[Slider]:
    """The pipeline's directions, with the vectors that each strength takes on a face.

    Args:
        components: The pipeline.
        personalization: What was learned.
        name: Name of the identity's pivot.
    """
    weights = add_deltas(components.generator, personalization.deltas)
    pivot = personalization.pivots[name][None].to(components.device)
    known = components.measurements(personalization)
    directions = {key: edit for key, edit in components.edits.items() if isinstance(edit, Direction)}
    sliders = []
    for key, direction in tqdm(directions.items(), **{"desc": "measure edits", **components.progress_bar_config}):
        (edit,) = components.parse((key, 1.0))
        assert isinstance(edit, (Edit, MeasuredEdit))
        vectors = {}
        with _unwarned():
            for strength in STRENGTHS:
                step = dataclasses.replace(edit, strength=strength)
                (applied,) = apply_edits(components, weights, pivot, [step], known)[2]
                assert isinstance(applied, Edit)
                vectors[strength] = applied.strength
        sliders.append(Slider(key, direction.vector.detach().cpu().float(), vectors))
    return sliders


def _one_identity(components: Components, identity: Personalization | str | None) -> Identities:
    if identity is None and (identity := components.personalization) is None:
        raise InputError("no identity is loaded; give a personalisation, or a pipeline that was saved with one")
    found = require_identities(components, identity)
    if len(found.names) > 1:
        raise InputError(f"there are {', '.join(found.names)}; choose one of them by name: --identity {found.names[0]}")
    return found


def _tuned(generator: Generator, personalization: Personalization) -> Generator:
    """A copy with the tuned weights, on the CPU in float32."""
    network = copy.deepcopy(generator)
    assert isinstance(network, nn.Module)
    network.to("cpu", torch.float32)
    network.load_state_dict(add_deltas(network, personalization.deltas), strict=False)
    return network


@contextmanager
def _unwarned() -> Iterator[None]:
    """Don't say of every strength that this face goes no further: a slider just ends there."""
    loggers = [get_logger(f"pti_hub.{name}") for name in ("edits.measured", "pipelines.rendering")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
