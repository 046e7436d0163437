"""Train an encoder to invert a generator in one pass, from the generator's own samples.

    python examples/train_encoder.py outputs/encoder                         # for the default generator
    python examples/train_encoder.py outputs/cats --model my-cats            # for any other generator
    python examples/train_encoder.py outputs/encoder --space w+ --photographs photos
    accelerate launch examples/train_encoder.py outputs/encoder              # several processes or GPUs

The script draws latents w, renders their pictures once into RUN/samples, measures how sensitive the pictures are to
directions in W, degrades the pictures to resemble photographs, and trains the encoder to recover w from them. The
encoder's body starts from AlexNet's convolutions, which come with LPIPS. RUN/encoder holds the encoder; RUN/log.jsonl
and RUN/curves.png show the encoder's errors on held-out samples. After a kill, the same call resumes.

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

AXES = 96  # of the gradient preconditioner, which assumes pictures to be least sensitive to all other directions


def main(
    run: Annotated[Path, typer.Argument(help="Folder of the samples, the checkpoints and the encoder.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Pipeline: known checkpoint, folder or Hub id.")] = (
        DEFAULT_CHECKPOINT
    ),
    samples: Annotated[int, typer.Option(min=CHUNK, help="Number of samples to render.")] = 20_000,
    truncation: Annotated[tuple[float, float], typer.Option(help="Smallest and largest truncation ψ of samples.")] = (
        0.6,
        1.1,
    ),
    size: Annotated[int, typer.Option(help="Height and width of saved pictures, in pixels.")] = 256,
    picture_size: Annotated[int, typer.Option(help="Height and width of compared pictures, in pixels.")] = 128,
    resolution: Annotated[int, typer.Option(help="Height and width of the encoder's input, in pixels.")] = 192,
    space: Annotated[str, typer.Option(help="Space of the latents: w, or w+ close to w.")] = "w",
    steps: Annotated[int, typer.Option(min=0, help="Number of steps that compare only latents.")] = 2500,
    picture_steps: Annotated[
        int, typer.Option(min=0, help="Number of steps after these, which also compare pictures.")
    ] = 800,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures per step, over all processes.")] = 32,
    picture_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of a batch that is rendered and compared as pictures.")
    ] = 0.25,
    learning_rate: Annotated[
        float, typer.Option(help="Peak learning rate of the head, in steps that compare only latents.")
    ] = 1e-3,
    picture_rate: Annotated[
        float, typer.Option(help="Peak learning rate of the head, in steps that also compare pictures.")
    ] = 3e-4,
    body_rate: Annotated[
        float,
        typer.Option(min=0, help="Learning rate of the body as a share of the head's; 0 leaves the body unchanged."),
    ] = 0.2,
    lpips_weight: Annotated[float, typer.Option(help="Weight of the LPIPS loss.")] = 2.0,
    l2_weight: Annotated[float, typer.Option(help="Weight of the squared difference between pixels.")] = 1.0,
    arcface: Annotated[
        str | None, typer.Option(help="ArcFace for the identity loss: folder from pti-hub convert, or Hub id.")
    ] = None,
    identity_weight: Annotated[
        float, typer.Option(help="Weight of the identity loss, which compares ArcFace's embeddings.")
    ] = 0.1,
    offset_weight: Annotated[float, typer.Option(help="Weight of the loss on the offsets in w+.")] = 0.1,
    preconditioner_samples: Annotated[
        int, typer.Option(min=0, help="Samples to estimate the gradient preconditioner from; 0 for no preconditioner.")
    ] = 1024,
    photographs: Annotated[
        str | None,
        typer.Option(help="Real photographs to train on, besides the samples: a folder, or a data set on the Hub."),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Number of photographs to use; all by default.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Save the weights in half precision.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=10**6, help="Seed of all random numbers.")] = 0,
) -> None:
    """Render samples of a generator and train an encoder to invert them."""
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
    """Train an encoder; see `main` for the arguments."""
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


def aligned(pipe: PTIPipeline, source: str, count: int | None, size: int) -> Tensor:
    """Aligned photographs, uint8 `[N, 3, size, size]`; photographs without exactly one face are left out."""
    pictures = []
    for photograph in tqdm(
        open_photographs(source, count), desc="photographs", disable=not process_state().is_main_process
    ):
        try:
            if photograph.image is None:
                raise InputError(photograph.problem or "unreadable")
            pictures.append(to_bytes(to_tensor(pipe.prepare(photograph.image), size))[0])
        except InputError as error:
            if process_state().is_main_process:
                tqdm.write(f"left out {photograph.name}: {one_line(error)}")
    if not pictures:
        raise InputError(f"{source} holds no photograph that can be used")
    return torch.stack(pictures)


def new_encoder(pipe: PTIPipeline, settings: Settings) -> LightEncoder:
    """Create an encoder; its body gets the AlexNet weights of the pipeline's LPIPS, if there are any."""
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
            print("no LPIPS with AlexNet in the pipeline: the body starts from random weights and needs more samples")
    z = torch.randn(4096, generator.z_dim, generator=torch.Generator().manual_seed(settings.seed))
    with torch.no_grad():
        w = generator.mapping(z.to(pipe.device))
    encoder.w_avg.copy_(generator.w_avg)
    encoder.w_scale.copy_(w.std(0))
    torch.nn.init.normal_(encoder.to_w.weight, std=0.1 / math.sqrt(encoder.to_w.in_features))
    return encoder.to(pipe.device)


def curves(run: Path) -> None:
    """Plot the log, if matplotlib is installed."""
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
