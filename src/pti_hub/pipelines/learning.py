"""Edits of a user's own: from examples with and without a property, and from words by optimisation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from pti_hub.checkpoints.directions import load_direction
from pti_hub.edits import Direction
from pti_hub.edits.learning import (
    FEWEST_EXAMPLES,
    Embedder,
    LatentOptimizationConfig,
    MapperTrainingConfig,
    Samples,
    TextLoss,
    TrainedMapper,
    direction_between,
    optimize_direction,
    train_mapper,
)
from pti_hub.encoders import encode
from pti_hub.errors import FaceError, ImageError, InputError
from pti_hub.generators import broadcast_ws
from pti_hub.images import PICTURE_SUFFIXES, find_pictures, to_tensor
from pti_hub.logging import get_logger
from pti_hub.optim import LoopCheckpoint, helpers_end
from pti_hub.personalization import Personalization, add_deltas
from pti_hub.pipelines.components import Components
from pti_hub.pipelines.identities import require_identities
from pti_hub.pipelines.inputs import check_seed, read_face
from pti_hub.pipelines.progress import Progress, StepEndCallback
from pti_hub.storage import as_save_error, fingerprint, tensor_digest

LATENT_SUFFIXES = (".npy", ".pt")
"""Files with one latent each."""


def learn_from_examples(components: Components, name: str, without: str | Path, with_: str | Path) -> Direction:
    """Learn a direction from two folders; see `direction_between`.

    Photographs go through the encoder, aligned as in `PTIPipeline.__call__`. Those without exactly one face are left
    out, with a warning.

    Args:
        components: The pipeline.
        name: Name of the direction.
        without: Folder of pictures, or of latents in `.npy` or `.pt` files, without the property.
        with_: Folder of the same with it.

    Raises:
        InputError: A folder holds fewer than 3 usable examples, or there are photographs and no encoder.
        WeightsError: A latent's file is damaged.
    """
    groups = [_latents(components, Path(folder)) for folder in (without, with_)]
    if {group.ndim for group in groups} == {2, 3}:
        groups = [broadcast_ws(components.generator, group) for group in groups]
    return direction_between(name, groups[0], groups[1], f"folders {Path(without).name} and {Path(with_).name}")


@helpers_end()
def optimize_words(
    components: Components,
    name: str,
    phrase: str,
    identity: Personalization | str,
    *,
    config: LatentOptimizationConfig | None = None,
    embedder: Embedder | None = None,
    callback_on_step_end: StepEndCallback | None = None,
) -> Direction:
    """Find the change of one identity's latent that a phrase asks for; see `optimize_direction`.

    It takes a minute rather than milliseconds, and reaches what no direction of `pipe.words` holds.

    Args:
        components: The pipeline.
        name: Name of the direction.
        phrase: What the picture is to show, such as `"a person with a beard"`.
        identity: A personalisation with one pivot, or the name of a loaded one.
        config: Hyper-parameters.
        embedder: Network that the identity is measured with, such as `pti_hub.encoders.ArcFace`, which is moved to the
            pipeline's device and put into evaluation mode; by default LPIPS.
        callback_on_step_end: Called with the number of the step and `{"stage": …, "phrase": …, "identity": …}`.

    Returns:
        The direction, whose strength 1 is what was found. Nothing is added to `pipe.edits`.

    Raises:
        InputError: The name can't be one, the phrase says nothing, no such identity is loaded, there are several
            pivots, or no step lowered the loss.
        MissingDependencyError: transformers is not installed.
        WeightsError: The text model can't be had.
    """
    Direction(name, components.generator.w_avg)
    person = require_identities(components, identity)
    if len(person.names) != 1:
        raise InputError(f"{', '.join(person.names)} for {phrase!r}; expected one identity with one photograph")
    cfg, known = config or LatentOptimizationConfig(), person.personalization
    loss = _text_loss(components, add_deltas(components.generator, known.deltas), phrase, embedder)
    pivot = known.pivots[person.names[0]][None].to(components.device)  # [1, w_dim] or [1, num_ws, w_dim]
    preconditioner = getattr(components.encoder, "preconditioner", None)
    progress = Progress(components.progress_bar_config, callback_on_step_end)
    with progress.stage("learn", cfg.num_steps, shown="phrase") as on_step:
        return optimize_direction(name, pivot, loss, cfg, preconditioner, on_step)


@helpers_end()
def train_mapper_for_words(
    components: Components,
    phrase: str,
    *,
    latents: Tensor | None = None,
    config: MapperTrainingConfig | None = None,
    embedder: Embedder | None = None,
    seed: int = 0,
    run_folder: str | Path | None = None,
    callback_on_step_end: StepEndCallback | None = None,
) -> TrainedMapper:
    """Train a mapper that changes each latent in its own way to what a phrase asks for; see `train_mapper`.

    Args:
        components: The pipeline.
        phrase: As in `optimize_words`.
        latents: `[N, w_dim]` or `[N, num_ws, w_dim]` to train on; by default those of 2000 `Samples`.
        config: Hyper-parameters.
        embedder: As in `optimize_words`.
        seed: Seed of everything random.
        run_folder: Folder in which the work's state is kept, so that the same call resumes it after a kill. It is left
            there: only the caller knows when the mapper is saved.
        callback_on_step_end: As in `optimize_words`.

    Raises:
        InputError: The phrase says nothing, latents do not fit, or the mapper changes nothing on unseen latents.
        MissingDependencyError: transformers is not installed.
        WeightsError: The text model can't be had, or the state in the folder is damaged.
        SaveError: The state can't be kept.
    """
    check_seed(seed)
    cfg = config or MapperTrainingConfig()
    loss = _text_loss(components, {}, phrase, embedder)
    if latents is None:
        latents = Samples(components.generator).latents
    checkpoint = None
    if run_folder is not None:
        checkpoint = _checkpoint(components, Path(run_folder), loss, [cfg, seed, tensor_digest(latents)])
    progress = Progress(components.progress_bar_config, callback_on_step_end)
    with progress.stage("learn", cfg.num_steps, shown="phrase") as on_step:
        trained = train_mapper(latents, loss, cfg, seed, on_step, checkpoint)
    return trained if checkpoint is None else trained._replace(state=checkpoint.path)


def _text_loss(
    components: Components, weights: Mapping[str, Tensor], phrase: str, embedder: Embedder | None
) -> TextLoss:
    if isinstance(embedder, nn.Module):
        embedder = embedder.to(components.device).eval()
    return TextLoss(components.generator, weights, components.words.distance(phrase), embedder or components.perceptual)


def _checkpoint(components: Components, folder: Path, loss: TextLoss, settings: Sequence[object]) -> LoopCheckpoint:
    """Where the training of a mapper is kept; of another call it is another file."""
    distance, identity = loss.distance, repr(loss.identity)
    if isinstance(loss.identity, nn.Module):
        identity = fingerprint(loss.identity)
    call = [components.base.fingerprint, distance.model.key, distance.phrase, identity, *map(str, settings)]
    with as_save_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return LoopCheckpoint(folder / f"mapper-{hashlib.sha256(repr(call).encode()).hexdigest()[:12]}.safetensors")


def _latents(components: Components, folder: Path) -> Tensor:
    """Latents `[N, w_dim]` or `[N, num_ws, w_dim]` of a folder's examples, on the CPU."""
    generator = components.generator
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give a folder of photographs, or of latents")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in LATENT_SUFFIXES)
    pictures = find_pictures(folder)
    if files and pictures:
        raise InputError(f"{folder} holds both pictures and latents; give them in folders of their own")
    if files:
        vectors = [load_direction(path, generator.num_ws, generator.w_dim).vector for path in files]
        return _stacked(components, vectors)
    if not pictures:
        expected = ", ".join([*PICTURE_SUFFIXES, *LATENT_SUFFIXES])
        raise InputError(f"{folder} holds no example; expected files that end in {expected}")
    found = _encoded(components, pictures)
    if len(found) < FEWEST_EXAMPLES:
        raise InputError(
            f"{len(found)} of {len(pictures)} pictures in {folder} can be used; at least {FEWEST_EXAMPLES} are needed, "
            "better 20"
        )
    return torch.cat(found)


def _stacked(components: Components, vectors: Sequence[Tensor]) -> Tensor:
    """Latents of equal shape."""
    if len({vector.ndim for vector in vectors}) > 1:
        return torch.cat([broadcast_ws(components.generator, vector[None]) for vector in vectors])
    return torch.stack(list(vectors))


def _encoded(components: Components, pictures: Sequence[Path]) -> list[Tensor]:
    """Latents of the pictures that hold exactly one face."""
    if components.encoder is None:
        raise InputError(
            f"{components.name} has no encoder to put photographs through; give folders of latents (.npy, .pt), such "
            "as pipe.invert(photograph).pivot"
        )
    found = []
    for path in tqdm(pictures, desc="examples", **components.progress_bar_config):
        try:
            picture = read_face(components, path, "auto", None).picture
        except (FaceError, ImageError) as error:
            get_logger(__name__).warning(f"{path} is left out: {error}")
            continue
        target = to_tensor(picture, components.generator.resolution).to(components.device)
        found.append(encode(components.encoder, target).cpu())
    return found
