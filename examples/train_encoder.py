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

import sys
from pathlib import Path
from typing import Annotated

import typer
from encoder_training.run import train
from encoder_training.samples import CHUNK
from encoder_training.settings import Settings

from pti_hub import PTIError, PTIPipeline
from pti_hub.pipelines import DEFAULT_CHECKPOINT


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


if __name__ == "__main__":
    try:
        typer.run(main)
    except PTIError as error:
        sys.exit(f"error: {error}")
