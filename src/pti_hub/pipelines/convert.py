"""Other people's files → folders that `from_pretrained` loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from pti_hub.checkpoints.arcface import arcface_weights, load_arcface
from pti_hub.checkpoints.directions import load_direction
from pti_hub.checkpoints.e4e import encoder_weights, load_style_encoder
from pti_hub.checkpoints.ganspace import load_components
from pti_hub.checkpoints.nvidia import generator_of, load_nvidia
from pti_hub.checkpoints.official_pti import load_tuned
from pti_hub.checkpoints.rosinality import load_rosinality, rosinality_weights
from pti_hub.checkpoints.styleclip import load_mapper
from pti_hub.checkpoints.unpickling import read_torch_file
from pti_hub.edits import Direction, save_edits
from pti_hub.edits.catalogue import CONFIG_NAME as EDITS_NAME
from pti_hub.errors import InputError, MissingDependencyError, PTIError, SaveError, WeightsError, one_line
from pti_hub.generators import StyleGAN2, StyleGAN3
from pti_hub.personalization import CONFIG_NAME as PERSONALIZATION_NAME
from pti_hub.pipelines.pipeline import PTIPipeline
from pti_hub.pipelines.pretrained import LPIPS_ORIGIN
from pti_hub.pipelines.saving import INDEX_NAME
from pti_hub.projectors import EncoderProjector
from pti_hub.storage import DAMAGE, Network, check_replaceable, replaced_folder

KNOWN = (
    "NVIDIA's StyleGAN2-ADA and StyleGAN3 pickles, rosinality's .pt, e4e and pSp checkpoints, ArcFace's "
    "model_ir_se50.pth, the official PTI code's model_*.pt and pivots, StyleCLIP's mappers, GANSpace's ffhq_pca.pt, "
    "and single directions"
)


def convert(
    file: str | Path,
    folder: str | Path,
    *,
    name: str | None = None,
    aligns_faces: bool | None = None,
    base: PTIPipeline | None = None,
    pivots: Mapping[str, str | Path] | None = None,
) -> str:
    """Turn a file of other people's code into a folder that `from_pretrained` loads. No code in the file is run.

    What the file is follows from its content: a generator becomes a pipeline, an e4e or pSp checkpoint a pipeline whose
    pivots come from the encoder, a tuned generator of the official PTI code a personalisation, ArcFace's weights an
    identity network, a mapper of StyleCLIP one of ours, directions a catalogue of edits.

    Args:
        file: A `.pkl`, `.pt`, `.pth` or `.npy`.
        folder: Where to.
        name: What a personalisation is to call a generator; by default the file's stem.
        aligns_faces: Whether the generator paints faces in FFHQ's alignment; by default whether its name says so.
        base: For a tuned generator, the pipeline of the one it was tuned from.
        pivots: For a tuned generator, the files of its pivots by identity, as PTI writes them (`0.pt`).

    Returns:
        What the file was, in a few words.

    Raises:
        WeightsError: The file is missing or damaged, holds code, or is none of the known kinds.
        InputError: The folder holds something else, or base and pivots do not go with the file.
        SaveError: The disk is full, or the place is not writable.
    """
    file, folder = Path(file), Path(folder)
    if not any((folder / marker).exists() for marker in (INDEX_NAME, PERSONALIZATION_NAME, EDITS_NAME, "config.json")):
        check_replaceable(folder, INDEX_NAME)
    if file.suffix == ".npy":
        return _save_directions(folder, [load_direction(file, num_ws=None)])
    content = read_torch_file(file)
    with _named(file):
        if base is not None or pivots:
            return _save_tuned(folder, content, base, pivots or {})
        # A mapper's file holds the generator it was trained with as well.
        if (mapper := load_mapper(content)) is not None:
            return _save_network(folder, mapper, "a latent mapper of StyleCLIP")
        if (parts := _pipeline_parts(content)) is not None:
            return _save_pipeline(folder, file, name or file.stem, aligns_faces, **parts)
        if (weights := arcface_weights(content)) is not None:
            return _save_network(folder, load_arcface(weights), "ArcFace, an identity network")
        if (directions := load_components(content)) is not None:
            return _save_directions(folder, directions)
        if isinstance(content, Tensor):
            return _save_directions(folder, [load_direction(file, num_ws=None)])
    raise WeightsError(f"{file} is none of the known kinds: {KNOWN}")


def _pipeline_parts(content: Any) -> dict[str, Any] | None:
    """The generator in what was read, and the encoder where there is one; `None` where there is no generator."""
    if (record := generator_of(content)) is not None:
        return {"generator": load_nvidia(record)}
    decoder, weights = rosinality_weights(content), encoder_weights(content)
    if weights is None:
        return None if decoder is None else {"generator": load_rosinality(*decoder)}
    encoder = load_style_encoder(weights, content)
    if decoder is None:
        raise WeightsError("an encoder without its generator (no decoder.…); fetch the whole checkpoint")
    generator = load_rosinality(*decoder)
    if encoder.num_ws != generator.num_ws:
        raise WeightsError(
            f"an encoder of {encoder.num_ws} layers with a generator of {generator.num_ws} "
            f"({generator.resolution}² px); the file is not whole"
        )
    return {"generator": generator, "encoder": encoder, "projector": EncoderProjector(encoder)}


def _save_pipeline(
    folder: Path,
    file: Path,
    name: str,
    aligns_faces: bool | None,
    generator: StyleGAN2 | StyleGAN3,
    **encoder_parts: Any,
) -> str:
    origin = {
        "part": "generator, encoder" if encoder_parts else "generator",
        "origin": f"converted from {file.name}",
        "licence": "its authors' licence; see where the file is from",
    }
    if aligns_faces is None:
        aligns_faces = any(word in name.lower() for word in ("ffhq", "celeba", "face"))
    pipe = PTIPipeline.from_generator(
        generator, name=name, aligns_faces=aligns_faces, device="cpu", origins=[origin, LPIPS_ORIGIN], **encoder_parts
    )
    pipe.save_pretrained(folder)
    encoder = " with an encoder" if encoder_parts else ""
    return f"{type(generator).__name__}, {generator.resolution}² px, {generator.num_ws} ws{encoder}"


def _save_tuned(folder: Path, content: Any, base: PTIPipeline | None, pivots: Mapping[str, str | Path]) -> str:
    if base is None or not pivots:
        raise InputError(
            "a tuned generator, its base and its pivots belong together; give all three, or none but a file"
        )
    load_tuned(content, pivots, base.generator, base.base, base.origins).save_pretrained(folder)
    return f"a tuned generator of {', '.join(pivots)}"


def _save_network(folder: Path, network: Network, description: str) -> str:
    with replaced_folder(folder, "config.json") as new:
        network.save_pretrained(new)
    return description


def _save_directions(folder: Path, directions: Sequence[Direction]) -> str:
    save_edits(folder, {direction.name: direction for direction in directions})
    return f"{len(directions)} direction{'s' if len(directions) > 1 else ''}"


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Puts the file's name before what is wrong with its content, whatever that led to."""
    try:
        yield
    except (MissingDependencyError, SaveError):
        raise
    except PTIError as error:
        raise type(error)(f"{file}: {error}") from error
    # Of a file that is not what it seems, a constructor raises whatever its numbers lead to.
    except DAMAGE as error:
        raise WeightsError(f"{file} does not hold what it should ({one_line(error)})") from error
