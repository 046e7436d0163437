"""Cost of `pipe.edit`, compared with a call of the pipeline, which also renders the reconstruction, in one run.

    python benchmarks/edits.py                    # a sample of the generator with random weight changes
    python benchmarks/edits.py personalization    # the folder of a saved personalisation

The two take turns, so that both run under the same conditions.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from pti_hub import Personalization, PTIPipeline
from pti_hub.pipelines import DEFAULT_CHECKPOINT


def main(
    personalization: Annotated[Path | None, typer.Argument(help="Folder of a saved personalisation.")] = None,
    edit: Annotated[str, typer.Option("--edit", "-e", help="Edit to render.")] = "smile=raw:1",
    turns: Annotated[int, typer.Option(help="Number of measurements of each side; the median counts.")] = 15,
    model: Annotated[str, typer.Option("--model", "-m", help="Pipeline: known checkpoint, folder or Hub id.")] = (
        DEFAULT_CHECKPOINT
    ),
) -> None:
    """Measure both sides, and print renders, seconds and ratios."""
    pipe = PTIPipeline.from_pretrained(model)
    person = Personalization.from_pretrained(personalization) if personalization is not None else sample(pipe)
    renders = 0

    def count_render(*_: Any) -> None:
        nonlocal renders
        renders += 1

    pipe.generator.register_forward_hook(count_render)  # type: ignore[attr-defined]
    sides: dict[str, Callable[[], Any]] = {
        "`pipe(person, edit).images`": lambda: pipe(person, edit).images,
        "`pipe.edit(person, edit)`": lambda: pipe.edit(person, edit),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    counts: dict[str, int] = {}
    for turn in range(turns + 1):
        for name, render in sides.items():
            renders, start = 0, time.perf_counter()
            render()
            if pipe.device.type == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - start)
            counts[name] = renders
    whole = statistics.median(next(iter(seconds.values())))
    print(f"torch {torch.__version__}, {pipe.device}, {torch.get_num_threads()} threads, {turns} turns\n")
    print("| | renders | seconds | of the call |\n|---|---|---|---|")
    for name, laps in seconds.items():
        print(f"| {name} | {counts[name]} | {statistics.median(laps):.3f} | {statistics.median(laps) / whole:.2f} |")


def sample(pipe: PTIPipeline) -> Personalization:
    """A random face, as if the generator had been tuned to it."""
    random = torch.Generator().manual_seed(0)
    parameters = dict(pipe.generator.named_parameters())
    tuned = {name: p for name, p in parameters.items() if not name.startswith("mapping_network.")}
    deltas = {name: 1e-4 * torch.randn(p.shape, generator=random) for name, p in tuned.items()}
    with torch.no_grad():
        w = pipe.generator.mapping(torch.randn(1, pipe.generator.z_dim, generator=random).to(pipe.device))
    return Personalization(deltas, {"sample": w[0].float().cpu()}, pipe.base)


if __name__ == "__main__":
    typer.run(main)
