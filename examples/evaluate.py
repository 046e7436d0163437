"""The paper's tables and figures for your generator, methods and photographs.

    python examples/evaluate.py --data photos --count 20                            # Tables 1 and 2
    python examples/evaluate.py --data photos --show figure15 --preset default
    python examples/evaluate.py --data photos --preset default --protocol ganinverter   # beside others' results
    accelerate launch examples/evaluate.py --data photos                            # on several processes
    python examples/evaluate.py compare outputs/mine outputs/theirs                 # paired differences

The result of each photograph is saved immediately, in OUT/results.jsonl: a run that was killed resumes where it
stopped, and the files of several runs can be put into one folder. Each table and figure is written as OUT/NAME.md,
.csv, .tex and .png, and all of them as OUT/report.html. Only figure16 and figure21 save pictures, photographs too.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm.auto import tqdm

from pti_hub import PTIError, PTIPipeline
from pti_hub.encoders import ArcFace
from pti_hub.evaluation import (
    EXHIBITS,
    METHODS,
    METRICS,
    PROTOCOLS,
    SCHEDULES,
    Comparison,
    Measurements,
    Results,
    Schedule,
    Table,
    draw,
    evaluate,
    exhibits,
    exhibits_of,
    named_methods,
    open_photographs,
    write_report,
)
from pti_hub.evaluation.data import CELEBA_HQ
from pti_hub.faces import embedding
from pti_hub.optim import process_state
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.storage import fingerprint

app = typer.Typer(pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    data: Annotated[str, typer.Option(help="A folder of photographs, or a data set on the Hub.")] = CELEBA_HQ,
    protocol: Annotated[str, typer.Option(help=f"Benchmark whose tables are shown: {', '.join(PROTOCOLS)}.")] = "paper",
    show: Annotated[str | None, typer.Option(help=f"Instead, tables and figures: {', '.join(EXHIBITS)}.")] = None,
    methods: Annotated[
        str | None, typer.Option(help=f"Methods, by default those of the tables and figures: {', '.join(METHODS)}.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help=f"Groups of numbers, by default those needed: {', '.join(METRICS)}.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Number of photographs to use; all by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("outputs/evaluation"),
    model: Annotated[str, typer.Option("--model", "-m", help="Pipeline: known checkpoint, folder or Hub id.")] = (
        DEFAULT_CHECKPOINT
    ),
    preset: Annotated[str, typer.Option(help=f"Schedule: {', '.join(SCHEDULES)} (the pipeline's).")] = "paper",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change of the schedule, such as w_plus.num_steps=300; repeatable."),
    ] = None,
    arcface: Annotated[str | None, typer.Option(help="ArcFace for identity: folder or Hub id; else dlib.")] = None,
    latents: Annotated[int, typer.Option(min=1, help="Number of random latents for figures 15 and 17.")] = 50,
    samples: Annotated[int, typer.Option(min=10, help="Number of random samples for fid.")] = 1000,
    split: Annotated[str, typer.Option(help="Split of a data set on the Hub.")] = "train",
    column: Annotated[str | None, typer.Option(help="Column of the pictures; needed if there are several.")] = None,
    align: Annotated[bool, typer.Option(help="Align faces as in FFHQ, unless they are aligned already.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of projection and tuning.")] = 0,
) -> None:
    """Measure methods on photographs and write the tables and figures of the paper, or of another benchmark."""
    if context.invoked_subcommand is not None:
        return
    selected = exhibits_of(protocol) if show is None else exhibits(split_names(show))
    names = split_names(methods)
    # 1. Choose the methods, and the groups of numbers for each method.
    groups_of: dict[str, dict[str, None]] = {}
    for exhibit in selected.values():
        for name in names or exhibit.methods:
            groups_of.setdefault(name, {}).update(dict.fromkeys(split_names(metrics) or exhibit.groups))
    pipe = PTIPipeline.from_pretrained(model)
    if metrics is None and not pipe.aligns_faces:
        groups_of = {name: {g: None for g in groups if g != "identity"} for name, groups in groups_of.items()}
    schedule = Schedule.named(preset, pipe).changed(set_ or [])
    chosen = named_methods(list(groups_of), pipe, schedule)
    # 2. Measure.
    network = None if arcface is None else ArcFace.from_pretrained(arcface).to(pipe.device)
    measurements = Measurements(pipe, seed, embedding if network is None else network.embedding, latents, samples)
    settings = {
        "data": [Path(data).resolve().name] if Path(data).is_dir() else [data, split, column],
        "identity": "dlib" if network is None else f"arcface {fingerprint(network)[:12]}",
        "align": align,
        **dataclasses.asdict(schedule),
        **measurements.settings,
    }
    state = process_state()
    results = Results(out, settings, state.process_index if state.num_processes > 1 else None)
    photographs = tqdm(open_photographs(data, count, split, column), total=count, desc="photographs")
    evaluate(photographs, [(method, list(groups_of[method.name])) for method in chosen], measurements, results, align)
    # 3. Show.
    if state.is_main_process:
        results = Results(out, settings)
        tables = {name: Table(name, results, names or exhibit.methods) for name, exhibit in selected.items()}
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
    first: Annotated[Path, typer.Argument(help="Folder of the first results.")],
    second: Annotated[Path, typer.Argument(help="Folder of the second results.")],
    out: Annotated[Path | None, typer.Option(help="Folder for compare.md and compare.csv.")] = None,
) -> None:
    """Compare two folders of results by paired differences."""
    comparison = Comparison(first, second)
    typer.echo(comparison.to_markdown())
    if out is not None:
        comparison.save(out)


def split_names(text: str | None) -> list[str]:
    """Split a list of names at the commas."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


if __name__ == "__main__":
    try:
        app()
    except PTIError as error:
        sys.exit(f"error: {error}")
