"""Export of generators to files for other code."""

from __future__ import annotations

from pathlib import Path

import torch

from pti_hub.checkpoints.nvidia import export_nvidia
from pti_hub.errors import InputError, MissingDependencyError
from pti_hub.generators import Generator, StyleGAN2, StyleGAN3
from pti_hub.storage import replaced_file, write_tensors


def export(generator: Generator, file: str | Path) -> None:
    """Write a generator to a file for other code.

    Args:
        generator: A StyleGAN2 or StyleGAN3.
        file: File to write. `.safetensors` and `.pt` hold a state dict that NVIDIA's `Generator` loads; `.onnx` holds
            the synthesis network with fixed noise, as a graph from `ws` `[1, num_ws, w_dim]` to `image` `[1, 3, R, R]`.

    Raises:
        InputError: The suffix or the kind of generator is not supported, or the folder doesn't exist.
        MissingDependencyError: The file is an `.onnx`, and the exporter is not installed.
        SaveError: The disk is full, or the folder is not writable.
    """
    file = Path(file)
    if not isinstance(generator, (StyleGAN2, StyleGAN3)):
        raise InputError(f"a {type(generator).__name__} was given; expected a StyleGAN2 or StyleGAN3")
    if file.suffix not in (".safetensors", ".pt", ".onnx"):
        raise InputError(f"{file} ends in {file.suffix!r}; expected .safetensors, .pt or .onnx")
    if not file.parent.is_dir():
        raise InputError(f"the folder {file.parent} of {file} doesn't exist; create it, or give another file")
    if file.suffix == ".safetensors":
        write_tensors(file, export_nvidia(generator))
        return
    with replaced_file(file) as partial:
        if file.suffix == ".onnx":
            _export_onnx(generator, partial)
        else:
            # Written to a stream, so that write errors are OSErrors.
            with partial.open("wb") as stream:
                torch.save(export_nvidia(generator), stream)


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
