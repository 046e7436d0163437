"""The paper's tables for your generator, methods and photographs.

    python examples/evaluate.py --data photos --methods sg2,sg2_wplus,pti --count 20
    accelerate launch examples/evaluate.py --data photos         # photographs are shared out over processes

Each photograph's result is kept as it is done, in OUT/results-*.jsonl: a run that was killed goes on where it stopped,
and the files of two runs can lie in one folder. Tables are written as OUT/table1.md, .csv and .tex, likewise table2.
No photograph is kept.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm.auto import tqdm

from pti_hub import PivotalTunerConfig, PTIError, PTIPipeline, WProjectorConfig
from pti_hub.errors import InputError
from pti_hub.evaluation import METHODS, TABLES, Measurements, Results, Table, named_methods, open_photographs
from pti_hub.evaluation.data import CELEBA_HQ
from pti_hub.evaluation.methods import Schedule
from pti_hub.loops import place

SCHEDULES = ("paper", "default", "saved")


def main(
    data: Annotated[str, typer.Option(help="A folder of photographs, or a data set on the Hub.")] = CELEBA_HQ,
    methods: Annotated[str, typer.Option(help=f"Of {', '.join(METHODS)}, with commas between.")] = "sg2,sg2_wplus,pti",
    count: Annotated[int | None, typer.Option(min=1, help="The first so many photographs; all by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("outputs/evaluation"),
    model: Annotated[str, typer.Option("--model", "-m", help="Known checkpoint, folder or Hub id.")] = (
        "pti-hub/mobilestylegan-ffhq"
    ),
    tables: Annotated[str, typer.Option(help=f"Of {', '.join(TABLES)}, with commas between.")] = "table1,table2",
    preset: Annotated[str, typer.Option(help=f"Schedule: {', '.join(SCHEDULES)}; saved is the model's own.")] = "paper",
    wplus_steps: Annotated[int | None, typer.Option(help="Steps in W+, if not 2100 of the paper's, else 500.")] = None,
    split: Annotated[str, typer.Option(help="Of a data set on the Hub.")] = "train",
    column: Annotated[str | None, typer.Option(help="Column of the pictures, where there are several.")] = None,
    align: Annotated[bool, typer.Option(help="Bring faces to FFHQ's alignment where they are not.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of projection and tuning.")] = 0,
) -> None:
    """Measure methods on photographs and write the paper's tables."""
    names = [name.strip() for name in methods.split(",") if name.strip()]
    asked = [name.strip() for name in tables.split(",") if name.strip()]
    if unknown := [name for name in asked if name not in TABLES]:
        raise InputError(f"no table is named {', '.join(unknown)}; there are {', '.join(TABLES)}")
    pipe = PTIPipeline.from_pretrained(model)
    schedule = schedule_of(preset, wplus_steps, pipe)
    chosen = named_methods(names, pipe, schedule)
    measurements = Measurements(pipe, edits="table2" in asked, seed=seed)
    settings = {
        "model": pipe.base,
        "edits": measurements.edits,
        "align": align,
        "seed": seed,
        **dataclasses.asdict(schedule),
    }
    rank, processes = place().process_index, place().num_processes
    results = Results(out, settings, rank)
    for i, photograph in enumerate(tqdm(open_photographs(data, count, split, column), total=count, desc="photographs")):
        if i % processes != rank:
            continue
        missing = [method for method in chosen if not results.has(photograph.name, method.name)]
        if not missing or photograph.name in results.problems:
            continue
        try:
            if photograph.image is None:
                raise InputError(photograph.problem)
            aligned = pipe.prepare(photograph.image, align="auto" if align else False)
        except InputError as error:
            results.add(photograph.name, "none", {"problem": str(error)})
            continue
        for method in missing:
            results.add(photograph.name, method.name, measurements(method, aligned))
    place().wait_for_everyone()
    if place().is_main_process:
        results = Results(out, settings, rank)
        for name in asked:
            table = Table(name, results)
            table.save(out)
            typer.echo(f"\n{name}\n\n{table.to_markdown()}")
        for image, problem in results.problems.items():
            typer.echo(f"skipped {image}: {problem}", err=True)


def schedule_of(preset: str, wplus_steps: int | None, pipe: PTIPipeline) -> Schedule:
    """How long each part may take."""
    if preset not in SCHEDULES:
        raise InputError(f"preset={preset!r}; expected one of {', '.join(SCHEDULES)}")
    schedule = Schedule()
    if preset != "paper":
        w, tuning = WProjectorConfig(), PivotalTunerConfig()
        if preset == "saved":
            tuning = pipe.tuner.config
            w = pipe.projector.config if isinstance(pipe.projector.config, WProjectorConfig) else w
        schedule = Schedule(w, dataclasses.replace(w, num_steps=500), tuning)
    if wplus_steps is not None:
        w_plus = dataclasses.replace(schedule.w_plus, num_steps=wplus_steps)
        schedule = dataclasses.replace(schedule, w_plus=w_plus)
    return schedule


if __name__ == "__main__":
    try:
        typer.run(main)
    except PTIError as error:
        sys.exit(f"error: {error}")
