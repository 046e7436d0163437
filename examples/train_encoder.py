"""Teach an encoder to invert a generator in one pass, from the generator's own samples.

    python examples/train_encoder.py outputs/encoder                         # for the default generator
    python examples/train_encoder.py outputs/cats --model my-cats            # for any other
    python examples/train_encoder.py outputs/encoder --space w+ --photographs photos
    accelerate launch examples/train_encoder.py outputs/encoder              # several processes or GPUs

It draws latents, renders them once into RUN/samples, measures to which directions of W the pictures are sensitive,
degrades the pictures as photographs are degraded, and learns the way back: picture → w. The encoder's body is AlexNet's
convolutions, which LPIPS brings along. RUN/encoder holds the encoder, RUN/log.jsonl and RUN/curves.png how it does on
held-out samples. The same call resumes the work after a kill.

    pipe.encoder = LightEncoder.from_pretrained("outputs/encoder/encoder")
    pipe.projector = "auto"
"""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from accelerate import Accelerator
from encoder_training.degradation import to_bytes
from encoder_training.samples import CHUNK, Samples
from encoder_training.settings import Settings
from encoder_training.teacher import Teacher
from torch import Tensor
from tqdm.auto import tqdm

from pti_hub import PTIError, PTIPipeline
from pti_hub.encoders import ArcFace, LightEncoder
from pti_hub.errors import InputError, one_line
from pti_hub.evaluation import open_photographs
from pti_hub.generators import Generator
from pti_hub.generators.protocol import chosen_resolution
from pti_hub.images import to_tensor
from pti_hub.optim import GradientPreconditioner, process_state, reused_memory
from pti_hub.pipelines import DEFAULT_CHECKPOINT, RunFolder
from pti_hub.storage import fingerprint, read_rows, read_tensors, replaced_folder, tensor_digest, write_tensors

AXES = 96  # of the gradient preconditioner; it takes pictures for least sensitive to all others


def main(
    run: Annotated[Path, typer.Argument(help="Folder of the samples, the checkpoints and the encoder.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Known checkpoint, folder or Hub id.")] = (
        DEFAULT_CHECKPOINT
    ),
    samples: Annotated[int, typer.Option(min=CHUNK, help="Number of pictures to render.")] = 20_000,
    truncation: Annotated[tuple[float, float], typer.Option(help="Least and largest truncation ψ of the samples.")] = (
        0.6,
        1.1,
    ),
    size: Annotated[int, typer.Option(help="Side at which pictures are kept, in pixels.")] = 256,
    picture_size: Annotated[int, typer.Option(help="Side at which pictures are compared, in pixels.")] = 128,
    resolution: Annotated[int, typer.Option(help="Side of the pictures that the encoder takes, in pixels.")] = 192,
    space: Annotated[str, typer.Option(help="Space of the latents: w, or w+ close to it.")] = "w",
    steps: Annotated[int, typer.Option(min=0, help="Steps that compare latents alone.")] = 2500,
    picture_steps: Annotated[int, typer.Option(min=0, help="Steps after these, which compare pictures as well.")] = 800,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures per step, over all processes.")] = 32,
    picture_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of a batch that is rendered and compared as pictures.")
    ] = 0.25,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of the head.")] = 1e-3,
    picture_rate: Annotated[float, typer.Option(help="Peak learning rate of the steps that compare pictures.")] = 3e-4,
    body_rate: Annotated[
        float, typer.Option(min=0, help="Learning rate of the body as a share of the head's; 0 leaves it as it is.")
    ] = 0.2,
    lpips_weight: Annotated[float, typer.Option(help="Weight of LPIPS.")] = 2.0,
    l2_weight: Annotated[float, typer.Option(help="Weight of the pixels' squared difference.")] = 1.0,
    arcface: Annotated[str | None, typer.Option(help="ArcFace, as pti-hub convert writes it, or a Hub id.")] = None,
    identity_weight: Annotated[float, typer.Option(help="Weight of the distance of ArcFace's embeddings.")] = 0.1,
    offset_weight: Annotated[float, typer.Option(help="Weight of the offsets of w+.")] = 0.1,
    preconditioner_samples: Annotated[
        int, typer.Option(min=0, help="Samples that the gradient preconditioner is estimated from; 0 for none.")
    ] = 1024,
    photographs: Annotated[
        str | None, typer.Option(help="Real photographs beside the samples: a folder, or a data set on the Hub.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Use the first so many photographs.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Write the weights in half precision.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=10**6, help="Seed of everything random.")] = 0,
) -> None:
    """Render samples of a generator and teach an encoder to invert them."""
    pipe = PTIPipeline.from_pretrained(model)
    size = min(size, pipe.generator.resolution)
    settings = Settings(
        samples=samples // CHUNK * CHUNK,
        truncation=truncation,
        size=size,
        picture_size=min(picture_size, size),
        resolution=resolution,
        space=space,
        steps=steps,
        picture_steps=picture_steps,
        batch_size=batch_size,
        picture_share=picture_share,
        learning_rate=learning_rate,
        picture_rate=picture_rate,
        body_rate=body_rate,
        lpips_weight=lpips_weight,
        l2_weight=l2_weight,
        identity_weight=identity_weight if arcface else 0.0,
        offset_weight=offset_weight,
        preconditioner_samples=min(preconditioner_samples, samples),
        seed=seed,
    )
    train(run, pipe, settings, arcface, photographs, count, half)


def train(
    run: Path,
    pipe: PTIPipeline,
    settings: Settings,
    arcface: str | None,
    photographs: str | None,
    count: int | None,
    half: bool,
) -> None:
    """Teach an encoder; arguments as of `main`."""
    generator, device = pipe.generator, pipe.device
    # `mixed_precision` chooses the precision, as in the other loops.
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
    # 1. What could fail after the work is checked before it.
    check(settings, generator, accelerator.num_processes, photographs is not None or arcface is not None)
    encoder = new_encoder(pipe, settings)
    real = None if photographs is None else aligned(pipe, photographs, count, settings.size)
    identity = None if arcface is None else ArcFace.load(arcface).to(device).eval().requires_grad_(False)
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
    # 2. Samples, shared out over the processes.
    data = Samples(run / "samples", settings)
    with reused_memory():
        data.render(generator, accelerator)
        accelerator.wait_for_everyone()
        # 3. How sensitive pictures are to w.
        if settings.preconditioner_samples:
            gradients = data.gradients(generator, pipe.projector_perceptual, accelerator)
            encoder.preconditioner = GradientPreconditioner.of(gradients, encoder.num_axes)
        # 4. Learn the way back.
        Teacher(settings, generator, pipe.projector_perceptual, identity, data, real, accelerator, run).teach(encoder)
    # 5. Keep the encoder.
    if accelerator.is_main_process:
        with replaced_folder(run / "encoder", "config.json") as folder:
            encoder.save_pretrained(folder)
            if half:
                weights = read_tensors(folder / "model.safetensors")
                rounded = {name: t.half() if t.ndim > 1 else t for name, t in weights.items()}
                write_tensors(folder / "model.safetensors", rounded)
        curves(run)
        print(f"the encoder: {run / 'encoder'}")


def check(settings: Settings, generator: Generator, processes: int, pictured_too: bool) -> None:
    """Find what can't work before the long work begins.

    Raises:
        InputError: A number is out of range, or does not go with another.
    """
    for option, size in (("--size", settings.size), ("--picture-size", settings.picture_size)):
        try:
            chosen_resolution(generator, size)
        except InputError as error:
            raise InputError(f"{option} {size}; expected {generator.resolution} divided by a power of two") from error
    if settings.batch_size % processes or settings.samples < settings.batch_size:
        raise InputError(
            f"--batch-size {settings.batch_size} for {processes} processes and {settings.samples} samples; expected a "
            "multiple of the one and at most the other"
        )
    if 0 < settings.preconditioner_samples < CHUNK:
        raise InputError(f"--preconditioner-samples {settings.preconditioner_samples}; expected 0 or at least {CHUNK}")
    if pictured_too and not (settings.picture_steps and settings.picture_share):
        raise InputError("--photographs and --arcface are for steps that compare pictures; give some --picture-steps")


def aligned(pipe: PTIPipeline, source: str, count: int | None, size: int) -> Tensor:
    """Photographs as the generator knows pictures, uint8 `[N, 3, size, size]`; those without one face are left out."""
    found = []
    for photograph in tqdm(
        open_photographs(source, count), desc="photographs", disable=not process_state().is_main_process
    ):
        try:
            if photograph.image is None:
                raise InputError(photograph.problem or "unreadable")
            found.append(to_bytes(to_tensor(pipe.prepare(photograph.image), size))[0])
        except InputError as error:
            if process_state().is_main_process:
                tqdm.write(f"left out {photograph.name}: {one_line(error)}")
    if not found:
        raise InputError(f"{source} holds no photograph that can be used")
    return torch.stack(found)


def new_encoder(pipe: PTIPipeline, settings: Settings) -> LightEncoder:
    """An encoder for a generator, its body that of LPIPS with AlexNet, where the pipeline has it."""
    torch.manual_seed(settings.seed)
    generator: Any = pipe.generator
    axes = min(AXES, generator.w_dim) if settings.preconditioner_samples else 0
    space: Any = settings.space
    encoder = LightEncoder(generator.w_dim, generator.num_ws, space, settings.resolution, axes)
    for network in (pipe.perceptual, pipe.projector_perceptual):
        if network.net == "alex":
            encoder.body.load_state_dict(network.features.state_dict())
            break
    else:
        if process_state().is_main_process:
            print("no LPIPS with AlexNet in the pipeline: the body begins at random, and needs many more samples")
    z = torch.randn(4096, generator.z_dim, generator=torch.Generator().manual_seed(settings.seed))
    with torch.no_grad():
        w = generator.mapping(z.to(pipe.device))
    encoder.w_avg.copy_(generator.w_avg)
    encoder.w_scale.copy_(w.std(0))
    torch.nn.init.normal_(encoder.to_w.weight, std=0.1 / math.sqrt(encoder.to_w.in_features))
    return encoder.to(pipe.device)


def curves(run: Path) -> None:
    """Draw the log, where matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    rows = read_rows(run / "log.jsonl")
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, names in ((left, ("train_w", "w", "w_degraded")), (right, ("lpips",))):
        for name in names:
            points = [(row["step"], row[name]) for row in rows if name in row]
            axes.plot(*zip(*points, strict=True), label=name)
        axes.set_xlabel("step")
        axes.legend()
    left.set_ylabel("‖ŵ − w‖² / W's variance")
    right.axhline(rows[0]["lpips_mean_latent"], color="gray", linestyle=":", label="mean latent")
    right.set_ylabel("LPIPS of held-out samples")
    right.legend()
    figure.savefig(run / "curves.png", dpi=110)


if __name__ == "__main__":
    try:
        typer.run(main)
    except PTIError as error:
        sys.exit(f"error: {error}")
