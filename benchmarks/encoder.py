"""Distance between photographs and the pictures of the encoder's latents, unrefined and refined, compared with Eq. 1.

    python benchmarks/encoder.py photos                        # 20, 50 and 100 steps; encoder + 0, 10, 25 and 50
    python benchmarks/encoder.py photos --steps 450 --count 6
    python benchmarks/encoder.py photos --job                  # the whole job, with a pivot from Eq. 1 or the encoder

Rows are appended to OUT as soon as they are measured, and are not measured again; the table covers all rows in OUT.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Annotated, Any, cast

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from pti_hub import PTIPipeline, WProjector, WProjectorConfig
from pti_hub.encoders import LightEncoder
from pti_hub.errors import InputError
from pti_hub.generators import latent_statistics
from pti_hub.images import find_pictures, to_tensor
from pti_hub.optim import GradientPreconditioner
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.projectors import REFINED, EncoderProjector, MeanProjector, Projector, RandomProjector
from pti_hub.storage import append_row, fingerprint, read_rows

SIZE = 256  # height and width at which pictures are compared


def main(
    photos: Annotated[Path, typer.Argument(help="Folder of photographs with one face each.")],
    steps: Annotated[
        str, typer.Option(help="Numbers of steps of Eq. 1 from the mean of W, separated by commas.")
    ] = "20,50,100",
    refine: Annotated[
        str, typer.Option(help="Numbers of steps from the encoder's latent, separated by commas.")
    ] = "0,10,25,50",
    count: Annotated[
        int | None, typer.Option(min=1, help="Number of photographs to use, in order; all by default.")
    ] = None,
    encoder: Annotated[Path | None, typer.Option(help="Folder of an encoder; the pipeline's own by default.")] = None,
    job: Annotated[
        bool, typer.Option("--job", help="Measure the whole job instead: align, project, tune and edit.")
    ] = False,
    out: Annotated[Path, typer.Option(help="File of the rows.")] = Path("outputs/encoder.jsonl"),
    model: Annotated[str, typer.Option("--model", "-m", help="Pipeline: known checkpoint, folder or Hub id.")] = (
        DEFAULT_CHECKPOINT
    ),
) -> None:
    """Measure ways to a pivot, and print a table."""
    pipe = PTIPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    if encoder is not None:
        pipe.encoder = LightEncoder.from_pretrained(encoder).to(pipe.device)
    if pipe.encoder is None:
        raise InputError(f"{model} has no encoder; give one with --encoder")
    rows = read_rows(out)
    encoder_id = fingerprint(cast("nn.Module", pipe.encoder))[:12]
    # Rows that don't depend on the encoder name none.
    rows = [row for row in rows if row.get("encoder", encoder_id) == encoder_id]
    done = {(row["image"], row["start"], row["steps"], row["job"]) for row in rows}
    plan = jobs(pipe) if job else projections(pipe, numbers(steps), numbers(refine))
    for number, path in enumerate(find_pictures(photos)[:count]):
        missing = [key for key in plan if (path.name, *key, job) not in done]
        if not missing:
            continue
        picture = pipe.prepare(path)
        target = to_tensor(picture, pipe.generator.resolution).to(pipe.device)
        for start, k in missing:
            pipe.projector = plan[start, k]
            row = {"image": path.name, "start": start, "steps": k, "job": job}
            row |= {"encoder": encoder_id} if start not in ("mean", "random") else {}
            row |= whole_job(pipe, picture) if job else projected(pipe, target, number)
            rows.append(row)
            append_row(out, row)
            print(row)
    table([row for row in rows if row["job"] == job])


def numbers(text: str) -> list[int]:
    """Parse a list of numbers: `"20,50"` gives [20, 50]."""
    return [int(part) for part in text.split(",") if part]


def projections(pipe: PTIPipeline, steps: list[int], refine: list[int]) -> dict[tuple[str, int], Projector]:
    """Projectors by the latent that they start from and their number of steps."""
    assert pipe.encoder is not None
    ways: dict[tuple[str, int], Projector] = {("mean", 0): MeanProjector(), ("random", 0): RandomProjector()}
    ways |= {("mean", k): WProjector(WProjectorConfig(num_steps=k)) for k in steps}
    for k in refine:
        ways["encoder", k] = EncoderProjector(pipe.encoder, replace(REFINED, refine_steps=k))
    # Two mixed ways separate the effects of the encoder's latent and of the natural gradients.
    w_avg, encoder = pipe.generator.w_avg, pipe.encoder
    if (preconditioner := getattr(encoder, "preconditioner", None)) is not None:
        mean = Start(lambda _: w_avg[None], preconditioner)
        ways["mean, natural", REFINED.num_steps] = EncoderProjector(mean, REFINED)
        ways["encoder, Adam", REFINED.num_steps] = EncoderProjector(Start(encoder, None, encoder.resolution), REFINED)
    return ways


class Start(nn.Module):
    """An encoder with the latents and the preconditioner of different sources, to measure the effect of each."""

    def __init__(
        self, answer: Callable[[Tensor], Tensor], preconditioner: GradientPreconditioner | None, resolution: int = 64
    ) -> None:
        super().__init__()
        self.answer, self.preconditioner, self.resolution = answer, preconditioner, resolution

    def forward(self, images: Tensor) -> Tensor:
        """The latents of the source."""
        return self.answer(images)


def jobs(pipe: PTIPipeline) -> dict[tuple[str, int], Projector]:
    """A pipeline's default projectors without and with an encoder."""
    assert pipe.encoder is not None
    from_encoder = EncoderProjector(pipe.encoder, REFINED)
    return {("mean", WProjectorConfig().num_steps): WProjector(), ("encoder", REFINED.num_steps): from_encoder}


def projected(pipe: PTIPipeline, target: Tensor, seed: int) -> dict[str, Any]:
    """LPIPS between the pivot's picture and the photograph, distance of the pivot from the mean of W, and seconds."""
    generator, perceptual = pipe.generator, pipe.projector_perceptual
    pivot, seconds = timed(lambda: pipe.projector.project(generator, perceptual, target, seed).pivot)
    with torch.no_grad():
        pictures = torch.cat([generator.synthesis(pivot), target])
        picture, photograph = F.interpolate(pictures, size=(SIZE, SIZE), mode="area").split(1)
        distance = perceptual(picture, photograph).item()
    w_distance = latent_statistics(generator, [pivot])[0]["w_distance"]
    return {"lpips_vgg_256": round(distance, 4), "w_distance": round(w_distance, 3), "seconds": round(seconds, 3)}


def whole_job(pipe: PTIPipeline, picture: Any) -> dict[str, Any]:
    """Metrics, tuning steps and seconds of a whole call: align, project, tune and edit."""
    output, seconds = timed(lambda: pipe(picture, edit="smile=raw:1"))
    steps = output.personalization.settings["steps"]
    metrics = {name: round(output.metrics[0][name], 4) for name in ("lpips", "mse", "w_distance")}
    return metrics | {"tuning_steps": steps, "seconds": round(seconds, 1)}


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a call, and the seconds it took."""
    start = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def table(rows: list[dict[str, Any]]) -> None:
    """Print means over photographs, one line per projector."""
    if not rows:
        return
    names = [name for name in rows[0] if name not in ("image", "start", "steps", "job", "encoder")]
    print(f"\n| start | steps | photographs | {' | '.join(names)} |\n|---|---|---|{'---|' * len(names)}")
    for start, k in sorted({(row["start"], row["steps"]) for row in rows}, key=lambda key: (key[0], key[1])):
        group = [row for row in rows if (row["start"], row["steps"]) == (start, k)]
        values = " | ".join(f"{mean(row[name] for row in group):.3f}" for name in names)
        print(f"| {start} | {k} | {len(group)} | {values} |")


if __name__ == "__main__":
    typer.run(main)
