"""A run: samples, preconditioner, training, and the saved encoder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from accelerate import Accelerator

from encoder_training.curves import curves
from encoder_training.photographs import aligned
from encoder_training.samples import CHUNK, Samples
from encoder_training.settings import Settings
from encoder_training.teacher import Teacher
from encoder_training.untrained import new_encoder
from pti_hub import PTIPipeline
from pti_hub.encoders import ArcFace
from pti_hub.errors import InputError
from pti_hub.generators import Generator
from pti_hub.generators.protocol import chosen_resolution
from pti_hub.optim import GradientPreconditioner, reused_memory
from pti_hub.pipelines import RunFolder
from pti_hub.storage import fingerprint, read_tensors, replaced_folder, tensor_digest, write_tensors


def train(
    run: Path,
    pipe: PTIPipeline,
    settings: Settings,
    arcface: str | None,
    photographs: str | None,
    count: int | None,
    half: bool,
) -> None:
    """Train an encoder.

    Args:
        run: Folder of the samples, the checkpoints and the encoder.
        pipe: The pipeline whose generator is inverted.
        settings: The settings, which the run folder keeps.
        arcface: ArcFace for the identity loss: a folder or Hub id.
        photographs: Photographs to train on besides the samples: a folder, or a data set on the Hub.
        count: Number of photographs; all by default.
        half: Whether the weights are saved in half precision.
    """
    generator, device = pipe.generator, pipe.device
    # The training loop chooses the precision itself, with `mixed_precision`.
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
    # 1. Check everything that could fail only after the long work.
    check(settings, generator, accelerator.num_processes, photographs is not None or arcface is not None)
    encoder = new_encoder(pipe, settings)
    real = None if photographs is None else aligned(pipe, photographs, count, settings.size)
    identity = None if arcface is None else ArcFace.from_pretrained(arcface).to(device).eval().requires_grad_(False)
    configuration = {
        "generator": fingerprint(generator),
        "perceptual": fingerprint(pipe.projector_perceptual),
        "arcface": identity and fingerprint(identity),
        "photographs": None if real is None else tensor_digest(real),
        "processes": accelerator.num_processes,
        **dataclasses.asdict(settings),
    }
    if accelerator.is_main_process:
        RunFolder(run, configuration)
    accelerator.wait_for_everyone()
    # 2. Render the samples, divided among the processes.
    data = Samples(run / "samples", settings)
    with reused_memory():
        data.render(generator, accelerator)
        accelerator.wait_for_everyone()
        # 3. Measure how sensitive pictures are to w.
        if settings.preconditioner_samples:
            gradients = data.gradients(generator, pipe.projector_perceptual, accelerator)
            encoder.preconditioner = GradientPreconditioner.of(gradients, encoder.num_axes)
        # 4. Train the encoder.
        Teacher(settings, generator, pipe.projector_perceptual, identity, data, real, accelerator, run).teach(encoder)
    # 5. Save the encoder.
    if accelerator.is_main_process:
        with replaced_folder(run / "encoder", "config.json") as folder:
            encoder.save_pretrained(folder)
            if half:
                weights = read_tensors(folder / "model.safetensors")
                rounded = {name: t.half() if t.ndim > 1 else t for name, t in weights.items()}
                write_tensors(folder / "model.safetensors", rounded)
        curves(run)
        print(f"encoder saved in {run / 'encoder'}")


def check(settings: Settings, generator: Generator, processes: int, pictured_too: bool) -> None:
    """Check settings before the long work begins.

    Raises:
        InputError: A number is out of range, or contradicts another one.
    """
    for option, size in (("--size", settings.size), ("--picture-size", settings.picture_size)):
        try:
            chosen_resolution(generator, size)
        except InputError as error:
            raise InputError(f"{option} {size}; expected {generator.resolution} divided by a power of two") from error
    if settings.batch_size % processes or settings.samples < settings.batch_size:
        raise InputError(
            f"--batch-size {settings.batch_size} for {processes} processes and {settings.samples} samples; expected a "
            "multiple of the number of processes, and at most the number of samples"
        )
    if 0 < settings.preconditioner_samples < CHUNK:
        raise InputError(f"--preconditioner-samples {settings.preconditioner_samples}; expected 0 or at least {CHUNK}")
    if pictured_too and not (settings.picture_steps and settings.picture_share):
        raise InputError("--photographs and --arcface need steps that compare pictures; set --picture-steps above 0")
