"""Export of generators to files for other code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from pti_hub.checkpoints.nvidia import export_nvidia
from pti_hub.checkpoints.onnx import to_onnx
from pti_hub.errors import InputError
from pti_hub.generators import Generator, MobileStyleGAN, StyleGAN2, StyleGAN3, broadcast_ws
from pti_hub.storage import replaced_file, write_tensors

FILES = (".safetensors", ".pt", ".onnx")
"""Suffixes of the files that `export` writes."""


@dataclass(frozen=True)
class Person:
    """Whom a generator was tuned to.

    Attributes:
        name: Name of the identity.
        pivot: w_p, `[w_dim]` or `[num_ws, w_dim]`.
        origins: Where the weights come from and under which licence, for the file.
    """

    name: str
    pivot: Tensor
    origins: Sequence[Mapping[str, str]] = field(default_factory=tuple)


def export(generator: Generator, file: str | Path, person: Person | None = None) -> None:
    """Write a generator to a file for other code.

    Args:
        generator: A MobileStyleGAN, StyleGAN2 or StyleGAN3 in float32.
        file: File to write. `.safetensors` and `.pt` hold a state dict: of a StyleGAN2 or StyleGAN3 one that NVIDIA's
            `Generator` loads, of a MobileStyleGAN its own. `.onnx` holds the synthesis network with fixed noise, as a
            graph from `ws` `[1, num_ws, w_dim]` to `image` `[1, 3, R, R]`.
        person: Whom the generator was tuned to. A state dict then has a further tensor, `pivot` `[num_ws, w_dim]`; a
            graph has it in its metadata, as a list in JSON.

    Raises:
        InputError: The suffix or the kind of generator is not supported, or the folder doesn't exist.
        MissingDependencyError: The file is an `.onnx`, and the exporter is not installed.
        SaveError: The disk is full, or the folder is not writable.
    """
    file = Path(file)
    if not isinstance(generator, (MobileStyleGAN, StyleGAN2, StyleGAN3)):
        raise InputError(f"a {type(generator).__name__} was given; expected a MobileStyleGAN, StyleGAN2 or StyleGAN3")
    check_place(file, FILES)
    pivot = None if person is None else broadcast_ws(generator, person.pivot[None])[0].detach().cpu()
    about = _about(generator, person)
    if file.suffix == ".onnx":
        ws = (generator.w_avg if pivot is None else pivot).detach().expand(1, generator.num_ws, -1).contiguous()
        model = to_onnx(generator, {"ws": ws}, ["image"])
        if pivot is not None:
            about["pivot"] = json.dumps(pivot.tolist())
        for key, value in about.items():
            model.metadata_props.add(key=key, value=value)
        content = model.SerializeToString()
        with replaced_file(file) as partial:
            partial.write_bytes(content)
        return
    tensors = generator.state_dict() if isinstance(generator, MobileStyleGAN) else export_nvidia(generator)
    if pivot is not None:
        tensors["pivot"] = pivot
    if file.suffix == ".safetensors":
        write_tensors(file, tensors, about)
        return
    # Written to a stream, so that write errors are OSErrors; copies, since a view would take its whole storage along.
    with replaced_file(file) as partial, partial.open("wb") as stream:
        torch.save({name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}, stream)


def check_place(file: Path, suffixes: Sequence[str]) -> None:
    """Make sure that a file can be written, before long work.

    Raises:
        InputError: It has another suffix than those that are expected, or its folder doesn't exist.
    """
    if file.suffix not in suffixes:
        raise InputError(f"{file} ends in {file.suffix!r}; expected {', '.join(suffixes[:-1])} or {suffixes[-1]}")
    if not file.parent.is_dir():
        raise InputError(f"the folder {file.parent} of {file} doesn't exist; create it, or give another file")


def _about(generator: MobileStyleGAN | StyleGAN2 | StyleGAN3, person: Person | None) -> dict[str, str]:
    """What a stranger to the file has to know, in words and numbers."""
    about = {
        "generator": type(generator).__name__,
        "num_ws": str(generator.num_ws),
        "w_dim": str(generator.w_dim),
        "resolution": str(generator.resolution),
        "range": "image is RGB in about [-1, 1]",
    }
    if person is not None:
        about |= {"name": person.name, "origins": json.dumps([dict(origin) for origin in person.origins])}
    return about
