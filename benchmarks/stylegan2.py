"""Cost of a tuning step of StyleGAN2, compared with NVIDIA's PyTorch code, in one run.

    git clone https://github.com/NVlabs/stylegan2-ada-pytorch
    python benchmarks/stylegan2.py --reference stylegan2-ada-pytorch

A step is a forward pass, a loss on the picture, and a backward pass to all weights of the synthesis network, which are
random. The sides take turns; each side runs in a separate process, so that peak memory can be measured.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer

from pti_hub.generators import StyleGAN2
from pti_hub.optim import reused_memory

Reference = Annotated[Path | None, typer.Option(help="Folder of NVIDIA's stylegan2-ada-pytorch.")]


def main(
    reference: Reference = None,
    resolution: Annotated[int, typer.Option(help="Height and width of the picture, in pixels.")] = 1024,
    steps: Annotated[int, typer.Option(help="Number of steps to measure per turn; the median counts.")] = 4,
    turns: Annotated[int, typer.Option(help="Number of turns of each side.")] = 3,
    side: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure both sides, and print seconds, memory and ratios."""
    if side is not None:
        print(json.dumps(measure(side, reference, resolution, steps)))
        return
    sides = ["ours", "ours, memory kept"] + ["NVIDIA's", "NVIDIA's, memory kept"] * (reference is not None)
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for name in sides * turns:
        command = [sys.executable, __file__, "--side", name, "--resolution", str(resolution), "--steps", str(steps)]
        command += ["--reference", str(reference)] if reference is not None else []
        measured[name].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    median = {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for name, rows in measured.items()
    }
    print("| | forward (s) | step (s) | peak (GB) | step, relative |\n|---|---|---|---|---|")
    first = median["ours, memory kept"]["step"]
    for name, row in median.items():
        print(f"| {name} | {row['forward']:.2f} | {row['step']:.2f} | {row['peak']:.2f} | {row['step'] / first:.2f} |")


def measure(side: str, reference: Path | None, resolution: int, steps: int) -> dict[str, float]:
    """Measure one side in this process; returns medians."""
    torch.manual_seed(0)
    synthesis: Callable[[], Any]
    if side.startswith("ours"):
        network: Any = StyleGAN2(resolution).eval()
        w = torch.randn(1, network.num_ws, 512)
        synthesis = lambda: network.synthesis(w)  # noqa: E731
        parameters = [p for name, p in network.named_parameters() if not name.startswith("mapping_network.")]
    else:
        sys.path.insert(0, str(reference))
        from training.networks import Generator  # type: ignore[import-not-found]

        network = Generator(512, 0, 512, resolution, 3).eval()
        w = torch.randn(1, network.num_ws, 512)
        synthesis = lambda: network.synthesis(w, noise_mode="const")  # noqa: E731
        parameters = list(network.synthesis.parameters())
    target = torch.randn(1, 3, resolution, resolution)
    forward, step = [], []
    with reused_memory() if side.endswith("kept") else nullcontext():
        for _ in range(steps + 1):
            start = time.perf_counter()
            picture = synthesis()
            forward.append(time.perf_counter() - start)
            F.mse_loss(picture, target).backward()
            step.append(time.perf_counter() - start)
            del picture
            for p in parameters:
                p.grad = None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"forward": statistics.median(forward[1:]), "step": statistics.median(step[1:]), "peak": peak}


if __name__ == "__main__":
    typer.run(main)
