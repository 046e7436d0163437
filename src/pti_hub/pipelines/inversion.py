"""Photographs → pivots (Eq. 1) → tuned weights (Eq. 2, 3), resumable and shared out over processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from pti_hub.errors import InputError
from pti_hub.generators import latent_statistics
from pti_hub.optim import LoopCheckpoint, helpers_end, process_state
from pti_hub.personalization import Personalization
from pti_hub.pipelines.components import Components
from pti_hub.pipelines.inputs import Target, check_seed
from pti_hub.pipelines.progress import Progress
from pti_hub.pipelines.run_folder import RunFolder
from pti_hub.projectors import EncoderProjector, Projection
from pti_hub.storage import fingerprint
from pti_hub.tuners import Tuning
from pti_hub.version import __version__


@helpers_end()
def project(
    components: Components,
    target: Tensor,
    seed: int,
    progress: Progress,
    first_step: int = 0,
    checkpoint: LoopCheckpoint | None = None,
) -> Projection:
    """Find the pivot of one photograph (Eq. 1).

    Args:
        components: The pipeline.
        target: x `[1, 3, R, R]`.
        seed: Seed of everything random.
        progress: Reports each step.
        first_step: Number of the first step in the whole job.
        checkpoint: Where the loop's state is kept, and resumed from.

    Raises:
        InputError: The seed is no whole number.
    """
    check_seed(seed)
    projector = components.projector
    with progress.stage("project", projector.config.num_steps, first_step) as on_step:
        return projector.project(
            components.generator, components.projector_perceptual, target, seed, on_step, checkpoint
        )


@helpers_end()
def personalize(
    components: Components,
    targets: Mapping[str, Target],
    seed: int,
    progress: Progress,
    run_folder: str | Path | None = None,
    shared: bool = False,
) -> Personalization:
    """x_i → w_i (Eq. 1) → θ* (Eq. 2, 3).

    Args:
        components: The pipeline.
        targets: What is to be learned, x_i and its place in the photograph, by identity.
        seed: Seed of everything random.
        progress: Reports each step.
        run_folder: Where the state is kept, and resumed from.
        shared: Whether all processes make this call with the same arguments and share out the photographs.

    Returns:
        Weight deltas and pivots.

    Raises:
        InputError: The seed is no whole number, the run folder is of another call, or the processes were given
            different arguments.
    """
    check_seed(seed)
    settings: dict[str, Any] = {
        "projector": _named_config(components.projector),
        "tuner": _named_config(components.tuner),
        "seed": seed,
    }
    state = process_state()
    rank, processes = (state.process_index, state.num_processes) if shared else (0, 1)
    run = _open_run(components, targets, settings, run_folder, rank, processes)
    if run is not None and (result := run.result) is not None:
        return result
    # 1. Project each photograph: w_i [1, w_dim] or [1, num_ws, w_dim].
    pivots = _project_all(components, targets, seed, progress, run, rank, processes)
    # 2. Tune one generator for all of them: Δ = θ* − θ.
    first_step = components.projector.config.num_steps * len(targets)
    with progress.stage("tune", components.tuner.config.num_steps * len(targets), first_step) as on_step:
        tuning = components.tuner.tune(
            components.generator,
            components.perceptual,
            pivots,
            [target.x for target in targets.values()],
            seed,
            on_step,
            None if run is None else run.tuning,
            shared,
            [target.likeness for target in targets.values()],
        )
    # 3. Keep what was learned.
    personalization = _learned(components, targets, tuning, settings)
    if run is not None:
        run.finish(personalization)
    return personalization


def _project_all(
    components: Components,
    targets: Mapping[str, Target],
    seed: int,
    progress: Progress,
    run: RunFolder | None,
    rank: int,
    processes: int,
) -> list[Tensor]:
    """The pivots of all photographs, of which this process projects its share."""
    pivots: dict[int, Tensor] = {}
    for i, target in list(enumerate(targets.values()))[rank::processes]:
        pivot = None if run is None else run.pivot(i)
        if pivot is None:
            first_step = i * components.projector.config.num_steps
            checkpoint = None if run is None else run.projection(i)
            pivot = project(components, target.x, seed, progress, first_step, checkpoint).pivot
            if run is not None:
                run.keep_pivot(i, pivot)
        pivots[i] = pivot.cpu()
    if processes > 1:
        pivots = {i: pivot for part in gather_object([pivots]) for i, pivot in part.items()}
    return [pivots[i].to(components.device) for i in range(len(targets))]


def _learned(
    components: Components, targets: Mapping[str, Target], tuning: Tuning, settings: Mapping[str, Any]
) -> Personalization:
    """A tuning's result as a value."""
    record = {
        **settings,
        "versions": {"pti_hub": __version__, "torch": torch.__version__.partition("+")[0]},
        "steps": tuning.num_steps,
        **({"stopped": tuning.stopped} if tuning.stopped else {}),
    }
    statistics = latent_statistics(components.generator, tuning.pivots)
    return Personalization(
        tuning.deltas,
        {name: pivot[0].cpu() for name, pivot in zip(targets, tuning.pivots, strict=True)},
        components.base,
        {name: m | s for name, m, s in zip(targets, tuning.metrics, statistics, strict=True)},
        record,
        components.origins,
        {name: target.placement for name, target in targets.items()},
    )


def _open_run(
    components: Components,
    targets: Mapping[str, Target],
    settings: Mapping[str, Any],
    folder: str | Path | None,
    rank: int,
    processes: int,
) -> RunFolder | None:
    """The run folder, if one is asked for; makes sure that all processes were given the same."""
    if folder is None and processes == 1:
        return None
    configuration = {
        "version": __version__,
        "base": components.base.to_json(),
        "perceptual": [fingerprint(p) for p in (components.perceptual, components.projector_perceptual)],
        "photographs": [[name, target.digest] for name, target in targets.items()],
        "batch_size": max(components.tuner.config.batch_size, processes),
        **settings,
    }
    if isinstance(components.projector, EncoderProjector):
        configuration["encoder"] = fingerprint(cast("nn.Module", components.projector.encoder))
    if processes > 1 and any(other != configuration for other in gather_object([configuration])):
        raise InputError("the processes were given different photographs or settings; give all of them the same")
    # The first process makes the folder, the others find it made.
    run = RunFolder(folder, configuration) if folder is not None and rank == 0 else None
    if processes > 1:
        process_state().wait_for_everyone()
    return RunFolder(folder, configuration, writes=False) if folder is not None and rank != 0 else run


def _named_config(method: Any) -> dict[str, Any]:
    """A projector's or tuner's class and hyper-parameters, of JSON's types."""
    return {"class": type(method).__name__, **dataclasses.asdict(method.config)}
