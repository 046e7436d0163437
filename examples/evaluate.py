"""The paper's tables and figures for your generator, methods and photographs.

    python examples/evaluate.py --data photos --count 20                            # Tables 1 and 2
    python examples/evaluate.py --data photos --show figure15 --preset default
    accelerate launch examples/evaluate.py --data photos                            # shared out over processes
    python examples/evaluate.py compare outputs/mine outputs/theirs                 # paired differences

Each photograph's result is kept as it is done, in OUT/results.jsonl: a run that was killed goes on where it stopped,
and the files of two runs can lie in one folder. Each table and figure is written as OUT/NAME.md, .csv, .tex and .png,
all of them as OUT/report.html. Small pictures, of the photographs too, are kept only for figure16 and figure21.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer
from torch import nn
from tqdm.auto import tqdm

from pti_hub import PivotalTunerConfig, PTIError, PTIPipeline, WProjectorConfig
from pti_hub.encoders import ArcFace
from pti_hub.errors import InputError
from pti_hub.evaluation import (
    EXHIBITS,
    METHODS,
    METRICS,
    Comparison,
    Measurements,
    Results,
    Schedule,
    Table,
    draw,
    evaluate,
    exhibits,
    named_methods,
    open_photographs,
    write_report,
)
from pti_hub.evaluation.data import CELEBA_HQ
from pti_hub.faces import embedding
from pti_hub.optim import process_state
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.projectors import EncoderProjectorConfig
from pti_hub.storage import fingerprint

PRESETS = ("paper", "default", "saved")

app = typer.Typer(pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    data: Annotated[str, typer.Option(help="A folder of photographs, or a data set on the Hub.")] = CELEBA_HQ,
    show: Annotated[str, typer.Option(help=f"Of {', '.join(EXHIBITS)}, with commas between.")] = "table1,table2",
    methods: Annotated[
        str | None, typer.Option(help=f"Of {', '.join(METHODS)}; by default what the tables and figures compare.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help=f"Of {', '.join(METRICS)}; by default what the tables and figures need.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="The first so many photographs; all by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("outputs/evaluation"),
    model: Annotated[str, typer.Option("--model", "-m", help="Known checkpoint, folder or Hub id.")] = (
        DEFAULT_CHECKPOINT
    ),
    preset: Annotated[str, typer.Option(help=f"Schedule: {', '.join(PRESETS)}; saved is the model's own.")] = "paper",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Changes the schedule: PART.NAME=VALUE, say w_plus.num_steps=300; repeat it."),
    ] = None,
    arcface: Annotated[
        str | None, typer.Option(help="ArcFace, as pti-hub convert writes it, or a Hub id; dlib by default.")
    ] = None,
    latents: Annotated[int, typer.Option(min=1, help="Random latents of figures 15 and 17.")] = 50,
    samples: Annotated[int, typer.Option(min=10, help="Random samples of fid.")] = 1000,
    split: Annotated[str, typer.Option(help="Of a data set on the Hub.")] = "train",
    column: Annotated[str | None, typer.Option(help="Column of the pictures, where there are several.")] = None,
    align: Annotated[bool, typer.Option(help="Bring faces to FFHQ's alignment where they are not.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of projection and tuning.")] = 0,
) -> None:
    """Measure methods on photographs and write the paper's tables and figures."""
    if context.invoked_subcommand is not None:
        return
    asked, names = exhibits(split_names(show)), split_names(methods)
    # 1. Which methods, and of each which numbers.
    wanted: dict[str, dict[str, None]] = {}
    for exhibit in asked.values():
        for name in names or exhibit.methods:
            wanted.setdefault(name, {}).update(dict.fromkeys(split_names(metrics) or exhibit.groups))
    pipe = PTIPipeline.from_pretrained(model)
    if metrics is None and not pipe.aligns_faces:
        wanted = {name: {g: None for g in groups if g != "identity"} for name, groups in wanted.items()}
    schedule = schedule_of(preset, pipe).changed(set_ or [])
    chosen = named_methods(list(wanted), pipe, schedule)
    # 2. Measure.
    network = None if arcface is None else ArcFace.load(arcface).to(pipe.device)
    settings = {
        "data": [Path(data).resolve().name] if Path(data).is_dir() else [data, split, column],
        "model": pipe.base.to_json(),
        "identity": "dlib" if network is None else f"arcface {fingerprint(network)[:12]}",
        "latents": latents,
        "samples": samples,
        "align": align,
        "seed": seed,
        **dataclasses.asdict(schedule),
    }
    if isinstance(pipe.encoder, nn.Module):
        settings["model"] = {**pipe.base.to_json(), "encoder": fingerprint(pipe.encoder)}
    state = process_state()
    results = Results(out, settings, state.process_index if state.num_processes > 1 else None)
    identity = embedding if network is None else network.embedding
    measurements = Measurements(pipe, seed, identity, latents, samples)
    photographs = tqdm(open_photographs(data, count, split, column), total=count, desc="photographs")
    evaluate(photographs, [(method, list(wanted[method.name])) for method in chosen], measurements, results, align)
    # 3. Show.
    if state.is_main_process:
        results = Results(out, settings)
        tables = {name: Table(name, results, names or exhibit.methods) for name, exhibit in asked.items()}
        for table in tables.values():
            if table.measures:
                table.save(out)
                typer.echo(f"\n{table.exhibit.title}\n\n{table.to_markdown()}")
        for image, problem in results.problems.items():
            typer.echo(f"skipped {image}: {problem}", err=True)
        shown = [(table, draw(name, results, table.methods)) for name, table in tables.items()]
        typer.echo(f"report: {write_report(results, shown, f'Evaluation of {pipe.name}')}")


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Folder of results.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    out: Annotated[Path | None, typer.Option(help="Write compare.md and compare.csv into this folder.")] = None,
) -> None:
    """Two folders of results side by side, with paired differences."""
    comparison = Comparison(first, second)
    typer.echo(comparison.to_markdown())
    if out is not None:
        comparison.save(out)


def split_names(text: str | None) -> list[str]:
    """Names with commas between."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def schedule_of(preset: str, pipe: PTIPipeline) -> Schedule:
    """How long each part may take."""
    if preset not in PRESETS:
        raise InputError(f"preset={preset!r}; expected one of {', '.join(PRESETS)}")
    if preset == "paper":
        return Schedule()
    if preset == "default":
        return Schedule.short()
    projector, tuning = pipe.projector.config, pipe.tuner.config
    return Schedule.short(
        projector if isinstance(projector, WProjectorConfig) else None,
        tuning if isinstance(tuning, PivotalTunerConfig) else None,
        projector if isinstance(projector, EncoderProjectorConfig) else None,
    )


if __name__ == "__main__":
    try:
        app()
    except PTIError as error:
        sys.exit(f"error: {error}")
