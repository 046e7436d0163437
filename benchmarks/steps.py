"""Cost of a step: projection and tuning compared with a bare forward and backward pass of the generator, in one run.

python benchmarks/steps.py
"""

from __future__ import annotations

import dataclasses
import resource
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any

import torch
import typer

from pti_hub import PivotalTuner, PivotalTunerConfig, PTIPipeline, WProjector, WProjectorConfig
from pti_hub.optim import reused_memory
from pti_hub.pipelines import DEFAULT_CHECKPOINT


def main(
    steps: Annotated[int, typer.Option(help="Number of steps to measure; the median counts.")] = 12,
    threads: Annotated[int, typer.Option(help="Number of CPU threads; 0 for PyTorch's default.")] = 0,
    model: Annotated[str, typer.Option(help="Pipeline: known checkpoint, folder or Hub id.")] = DEFAULT_CHECKPOINT,
) -> None:
    """Measure steps, and print seconds and ratios."""
    if threads:
        torch.set_num_threads(threads)
    pipe = PTIPipeline.from_pretrained(model)
    generator, device = pipe.generator, pipe.device
    size = generator.resolution
    target = torch.rand(1, 3, size, size, device=device) * 2 - 1
    w = generator.w_avg[None]
    upstream = torch.randn(1, 3, size, size, device=device)

    def bare() -> None:
        generator.synthesis(w).backward(upstream)

    generator.requires_grad_(True)
    plain = [lap(bare, device) for _ in range(4)][1:]
    with reused_memory():
        bare_seconds = statistics.median([lap(bare, device) for _ in range(steps + 2)][2:])
    generator.requires_grad_(False)
    for p in generator.parameters():
        p.grad = None

    projector = WProjector(WProjectorConfig(num_steps=steps + 2))
    projection = laps(
        lambda on_step: projector.project(generator, pipe.projector_perceptual, target, 0, on_step), device
    )
    tuner = PivotalTuner(dataclasses.replace(PivotalTunerConfig.paper(), num_steps=steps + 2))
    tuning = laps(lambda on_step: tuner.tune(generator, pipe.perceptual, [w], [target], 0, on_step), device)

    rows = [
        ("bare forward + backward, all weights", bare_seconds),
        ("the same without `reused_memory`", statistics.median(plain)),
        (f"projection step, compared at {projector.config.resolution}²", projection),
        (f"tuning step of the paper's schedule, compared at {size}²", tuning),
    ]
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads\n")
    print("| | seconds | of a bare pass |\n|---|---|---|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.3f} | {seconds / bare_seconds:.2f} |")
    print(f"\nPeak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")
    if device.type == "cuda":
        print(f"Peak memory of the device: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


def lap(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def laps(loop: Callable[[Callable[[int, Any], None]], Any], device: torch.device) -> float:
    """Median seconds per step of a loop that calls back after each step; the first two steps warm up."""
    times: list[float] = []

    def on_step(step: int, metrics: Any) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter())

    loop(on_step)
    return statistics.median(b - a for a, b in pairwise(times[1:]))


if __name__ == "__main__":
    typer.run(main)
