"""Other people's files → our folders, and generators → files for their code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from pti_hub.checkpoints.directions import load_direction
from pti_hub.checkpoints.encoders import encoder_weights, fill_module, load_arcface, load_style_encoder
from pti_hub.checkpoints.hub import one_line
from pti_hub.checkpoints.inert import printable
from pti_hub.checkpoints.known import LPIPS_ORIGIN
from pti_hub.checkpoints.nvidia import export_nvidia, generator_of, load_nvidia
from pti_hub.checkpoints.rosinality import load_rosinality, rosinality_weights
from pti_hub.checkpoints.torch_files import read_torch_file
from pti_hub.edits import Direction, LatentMapper, save_edits
from pti_hub.edits.catalogue import CONFIG_NAME as EDITS_NAME
from pti_hub.errors import InputError, MissingDependencyError, PTIError, SaveError, WeightsError
from pti_hub.files import check_replaceable, replaced_folder, saving
from pti_hub.generators import Generator, StyleGAN2, StyleGAN3, latent_statistics
from pti_hub.pipeline import INDEX_NAME, PTIPipeline
from pti_hub.projectors import EncoderProjector
from pti_hub.tuners import Personalization
from pti_hub.tuners.personalization import CONFIG_NAME as PERSONALIZATION_NAME

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
        What it was, in a few words.

    Raises:
        WeightsError: The file is missing or damaged, holds code, or is none of the known kinds.
        InputError: The folder holds something else, or base and pivots do not go with the file.
        SaveError: The place is not writable.
    """
    file, folder = Path(file), Path(folder)
    name = name or file.stem
    if not any((folder / marker).exists() for marker in (INDEX_NAME, PERSONALIZATION_NAME, EDITS_NAME, "config.json")):
        check_replaceable(folder, INDEX_NAME)
    if file.suffix == ".npy":
        return _save_directions(folder, [load_direction(file, num_ws=None)])
    content = read_torch_file(file)
    with _named(file):
        if base is not None or pivots:
            return _save_personalization(folder, content, base, pivots or {})
        # A mapper's file holds the generator it was trained with as well.
        if (mapper := _mapper(content)) is not None:
            with replaced_folder(folder, "config.json") as new:
                mapper.save_pretrained(new)
            return "a latent mapper of StyleCLIP"
        if (record := generator_of(content)) is not None:
            generator: StyleGAN2 | StyleGAN3 = load_nvidia(record)
            return _save_pipeline(folder, file, generator, name, aligns_faces)
        if (weights := encoder_weights(content)) is not None:
            assert isinstance(content, Mapping)
            encoder = load_style_encoder(weights, content)
            if (found := rosinality_weights(content)) is None:
                raise WeightsError("an encoder without its generator (no decoder.…); fetch the whole checkpoint")
            projector = EncoderProjector(encoder)
            generator = load_rosinality(*found)
            if encoder.num_ws != generator.num_ws:
                raise WeightsError(
                    f"an encoder of {encoder.num_ws} layers with a generator of {generator.num_ws} "
                    f"({generator.resolution}² px); the file is not whole"
                )
            return _save_pipeline(folder, file, generator, name, aligns_faces, encoder=encoder, projector=projector)
        if (found := rosinality_weights(content)) is not None:
            return _save_pipeline(folder, file, load_rosinality(*found), name, aligns_faces)
        if isinstance(content, Mapping) and {"input_layer.0.weight", "output_layer.3.weight"} <= content.keys():
            network = load_arcface(content)
            with replaced_folder(folder, "config.json") as new:
                network.save_pretrained(new)
            return "ArcFace, an identity network"
        if isinstance(content, Mapping) and {"comp", "std"} <= content.keys():
            return _save_directions(folder, _components(content))
        if isinstance(content, Tensor):
            return _save_directions(folder, [load_direction(file, num_ws=None)])
    raise WeightsError(f"{file} is none of the known kinds: {KNOWN}")


def export(generator: Generator, file: str | Path) -> None:
    """Write a generator for other code.

    Args:
        generator: A StyleGAN2 or StyleGAN3.
        file: `.safetensors` or `.pt`, a state dict that NVIDIA's `Generator` loads; or `.onnx`, the synthesis network
            as a graph from `ws` `[1, num_ws, w_dim]` to `image` `[1, 3, R, R]`, with the fixed noise.

    Raises:
        InputError: Another ending, or another kind of generator.
        MissingDependencyError: For ONNX, the exporter is not installed.
        SaveError: The place is not writable.
    """
    file = Path(file)
    if not isinstance(generator, (StyleGAN2, StyleGAN3)):
        raise InputError(f"a {type(generator).__name__} was given; expected a StyleGAN2 or StyleGAN3")
    if file.suffix not in (".safetensors", ".pt", ".onnx"):
        raise InputError(f"{file} ends in {file.suffix!r}; expected .safetensors, .pt or .onnx")
    if not file.parent.is_dir():
        raise InputError(f"the folder {file.parent} of {file} doesn't exist; make it, or give another place")
    partial = file.with_name(f".{file.name}.partial")
    with saving(file):
        try:
            if file.suffix == ".onnx":
                _export_onnx(generator, partial)
            elif file.suffix == ".pt":
                # Through a file of ours, whose errors are the system's.
                with partial.open("wb") as stream:
                    torch.save(export_nvidia(generator), stream)
            else:
                save_file(export_nvidia(generator), partial, metadata={"format": "pt"})
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)


def _export_onnx(generator: StyleGAN2 | StyleGAN3, file: Path) -> None:
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "an export to ONNX needs the package onnxscript; install it: pip install 'pti-hub[onnx]'"
        ) from error
    ws = generator.w_avg.detach()[None, None].repeat(1, generator.num_ws, 1)
    with torch.no_grad():
        program = torch.onnx.export(
            generator.eval(), (ws,), input_names=["ws"], output_names=["image"], dynamo=True, verbose=False
        )
        assert program is not None
        program.save(file)


def _save_pipeline(
    folder: Path, file: Path, generator: StyleGAN2 | StyleGAN3, name: str, aligns_faces: bool | None, **parts: Any
) -> str:
    what = "generator, encoder" if "encoder" in parts else "generator"
    origin = {
        "part": what,
        "origin": f"converted from {file.name}",
        "licence": "that of its authors; see where it is from",
    }
    if aligns_faces is None:
        aligns_faces = any(word in name.lower() for word in ("ffhq", "celeba", "face"))
    pipe = PTIPipeline.from_generator(
        generator, name=name, aligns_faces=aligns_faces, device="cpu", origins=[origin, LPIPS_ORIGIN], **parts
    )
    pipe.save_pretrained(folder)
    encoder = " with an encoder" if "encoder" in parts else ""
    return f"{type(generator).__name__}, {generator.resolution}² px, {generator.num_ws} ws{encoder}"


def _save_personalization(
    folder: Path, content: Any, base: PTIPipeline | None, pivots: Mapping[str, str | Path]
) -> str:
    if base is None or not pivots:
        raise InputError(
            "a tuned generator, its base and its pivots belong together; give all three, or none but a file"
        )
    if (record := generator_of(content)) is None:
        raise WeightsError("the file holds no generator; expected what the official PTI code saves of a tuned one")
    tuned = load_nvidia(record)
    original = dict(base.generator.named_parameters())
    weights = {name: p for name, p in tuned.named_parameters() if not name.startswith("mapping_network.")}
    if {name: p.shape for name, p in weights.items()} != {
        name: p.shape for name, p in original.items() if not name.startswith("mapping_network.")
    }:
        raise InputError(
            f"the tuned generator has other weights than the base {base.name!r}; give the one it came from"
        )
    deltas = {name: p.detach() - original[name].detach().cpu().float() for name, p in weights.items()}
    latents = {}
    for identity, path in pivots.items():
        pivot = read_torch_file(path)
        if not isinstance(pivot, Tensor):
            raise WeightsError(f"{path} holds no tensor; expected a pivot [1, num_ws, w_dim]")
        # PTI repeats a pivot in W for each layer.
        if pivot.shape[-1:] != (base.generator.w_dim,) or not pivot.numel():
            raise WeightsError(
                f"{path} holds a tensor {list(pivot.shape)}; expected a pivot [1, num_ws, {base.generator.w_dim}]"
            )
        pivot = pivot.detach().float().reshape(-1, base.generator.w_dim)
        latents[identity] = pivot[0].clone() if (pivot == pivot[0]).all() else pivot
    statistics = latent_statistics(base.generator, [w[None].to(base.device) for w in latents.values()])
    personalization = Personalization(
        deltas,
        latents,
        base.base,
        dict(zip(latents, statistics, strict=True)),
        {"origin": "official PTI"},
        base.origins,
    )
    personalization.check(base.generator, base.base)
    personalization.save_pretrained(folder)
    return f"a tuned generator of {', '.join(latents)}"


def _save_directions(folder: Path, directions: Sequence[Direction]) -> str:
    save_edits(folder, {direction.name: direction for direction in directions})
    return f"{len(directions)} direction{'s' if len(directions) > 1 else ''}"


def _mapper(content: Any) -> LatentMapper | None:
    """StyleCLIP's mapper, where the file is one."""
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not any(str(name).startswith("mapper.") for name in state):
        return None
    names = {"mapper.course_mapping": "coarse", "mapper.medium_mapping": "medium", "mapper.fine_mapping": "fine"}
    names["mapper.mapping"] = "all"
    levels = [level for name, level in names.items() if f"{name}.mapping.1.weight" in state]
    if not levels:
        raise WeightsError("a mapper of StyleCLIP in style space; only those in W+ are known")
    mapper = LatentMapper(levels)
    fill_module(
        mapper,
        {
            f"levels.{level}.{i}.{kind}": state.get(f"{name}.mapping.{i + 1}.{kind}")
            for name, level in names.items()
            for i in range(4)
            for kind in ("weight", "bias")
        },
    )
    return mapper


def _components(content: Mapping[str, Any]) -> list[Direction]:
    """GANSpace's principal components, a standard deviation long (Härkönen et al. 2020)."""
    comp, std = (torch.as_tensor(content[key]).float() for key in ("comp", "std"))
    if comp.ndim < 2:
        raise WeightsError(f"components of shape {list(comp.shape)}; expected [N, 512]")
    comp, std = comp.reshape(-1, comp.shape[-1]), std.flatten()
    if len(comp) != len(std):
        raise WeightsError(f"{len(comp)} components with {len(std)} deviations; the file is not whole")
    return [
        Direction(f"component{i}", vector * length, "published principal component")
        for i, (vector, length) in enumerate(zip(comp, std, strict=True))
    ]


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
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise WeightsError(f"{file} does not hold what it should ({printable(one_line(error))})") from error
