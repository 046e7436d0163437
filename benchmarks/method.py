"""What each part of the method brings: the paper's Figures 15 to 17, its many identities and its main claim, in small.

    python benchmarks/method.py locality ../shared/data/faces
    python benchmarks/method.py alpha ../shared/data/faces
    python benchmarks/method.py cast ../shared/data/faces
    python benchmarks/method.py edits ../shared/data/faces
    python benchmarks/method.py ablation

Each writes OUT/NAME.jsonl, a line a measurement, and OUT/NAME.md, a table; `locality` and `alpha` a plot, `ablation` a
picture. A run that was stopped goes on with what is missing. Of photographs the pivots are kept, in OUT/pivots.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
import typer
from PIL import Image
from torch import Tensor

from pti_hub import Personalization, PivotalTuner, PivotalTunerConfig, PTIPipeline, WProjector, WProjectorConfig
from pti_hub.faces import FaceAnalyzer, align, embedding, head_pose, identity_distance, select, widest
from pti_hub.generators import tuned_synthesis
from pti_hub.images import load_image, save_image, side_by_side, to_tensor
from pti_hub.loops import LoopState, reused_memory
from pti_hub.projectors import MeanProjector, Projector, RandomProjector, WPlusProjector
from pti_hub.runs import digest
from pti_hub.tuners import add_deltas

matplotlib.use("agg")

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Argument(help="Photographs.")]
Out = Annotated[Path, typer.Option(help="Folder of the results.")]
Count = Annotated[int, typer.Option(help="The first so many photographs.")]
Steps = Annotated[int, typer.Option(help="Tuning steps an image.")]
OUT = Path("outputs/method")


class Results:
    """Measurements, a line each, that outlive a kill."""

    def __init__(self, out: Path, name: str) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.path = out, out / f"{name}.jsonl"
        self.rows = [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def once(self, key: Mapping[str, Any], measure: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The row of a key: the one that is there, or a new one."""
        for row in self.rows:
            if key.items() <= row.items():
                return row
        row = {**key, **measure()}
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)
        return row

    def of(self, key: Mapping[str, Any], paths: Sequence[Path]) -> list[dict[str, Any]]:
        """The rows of these pictures."""
        names = {path.name for path in paths}
        return [row for row in self.rows if key.items() <= row.items() and row["picture"] in names]

    def table(self, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> None:
        """Write and print a table of rows, numbers with three digits."""
        lines = ["| " + " | ".join(columns.values()) + " |", "|---" * len(columns) + "|"]
        for row in rows:
            cells = [f"{v:.3f}" if isinstance(v := row[key], float) else str(v) for key in columns]
            lines.append("| " + " | ".join(cells) + " |")
        text = "\n".join(lines) + "\n"
        self.path.with_suffix(".md").write_text(text)
        print(text)


def load(preset: str | None = None) -> PTIPipeline:
    pipe = PTIPipeline.from_pretrained("pti-hub/mobilestylegan-ffhq", preset=preset)
    pipe.set_progress_bar_config(mininterval=30)
    return pipe


def pictures(folder: Path, count: int) -> list[Path]:
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))[:count]
    if len(found) < count:
        sys.exit(f"error: {len(found)} pictures in {folder}; expected {count}")
    return found


def pivot_of(pipe: PTIPipeline, path: Path, out: Path) -> Tensor:
    """The pivot of a photograph by the default projector, kept for the other commands."""
    state = LoopState(out / "pivots" / f"{digest(target_of(pipe, path))[:16]}.safetensors")
    if not (kept := state.read()):
        state.path.parent.mkdir(parents=True, exist_ok=True)
        kept = {"pivot": pipe.invert(path, align=False).pivot}
        state.write(kept)
    return kept["pivot"].to(pipe.device)


def target_of(pipe: PTIPipeline, path: Path) -> Tensor:
    """The photograph, which is aligned already, as the generator knows pictures."""
    return to_tensor(load_image(path), pipe.generator.resolution).to(pipe.device)


@torch.no_grad()
def drift(pipe: PTIPipeline, deltas: Mapping[str, Tensor], count: int) -> dict[str, float]:
    """LPIPS and MSE of random latents' pictures between the tuned and the original generator: Fig. 15's In-Domain."""
    weights, generator = add_deltas(pipe.generator, deltas), pipe.generator
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(1000))
    total = torch.zeros(2)
    with reused_memory():
        for w in generator.mapping(z.to(pipe.device)):
            before, after = generator.synthesis(w[None]), tuned_synthesis(generator, weights, w[None])
            total += torch.tensor([pipe.perceptual(after, before).item(), F.mse_loss(after, before).item()])
    lpips, mse = (total / count).tolist()
    return {"drift_lpips": lpips, "drift_mse": mse}


def tune(pipe: PTIPipeline, pivot: Tensor, target: Tensor, config: PivotalTunerConfig) -> Any:
    return PivotalTuner(config).tune(pipe.generator, pipe.perceptual, [pivot], [target])


def means(rows: Sequence[Mapping[str, Any]], keys: Iterable[str]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in keys}


MEASURES = {
    "lpips": "LPIPS, target",
    "mse": "MSE, target",
    "drift_lpips": "LPIPS, random latents",
    "drift_mse": "MSE, random latents",
}


@app.command()
def locality(
    folder: Folder,
    out: Out = OUT,
    count: Count = 6,
    steps: Steps = 120,
    latents: Annotated[int, typer.Option(help="Random latents.")] = 50,
    threshold: Annotated[float, typer.Option(help="LPIPS at which tuning stops, with or without.")] = 0.0,
    weight: Annotated[float, typer.Option(help="λ_R, against none.")] = 0.4,
    samples: Annotated[int, typer.Option(help="N_r.")] = 3,
    alpha: Annotated[float, typer.Option(help="α.")] = 40.0,
    rampdown: Annotated[float, typer.Option(help="Share of the steps over which the rate falls.")] = 0.8,
) -> None:
    """Figure 15: how far tuning drags random latents along, with and without locality regularisation."""
    results, pipe = Results(out, "locality"), load()
    key = {"steps": steps, "latents": latents, "threshold": threshold, "rampdown": rampdown}
    settings = {"without": (0.0, 1, alpha), f"with, λ_R = {weight:g}": (weight, samples, alpha)}
    paths = pictures(folder, count)
    for path, (name, values) in itertools.product(paths, settings.items()):
        hold = dict(zip(("locality_weight", "locality_samples", "locality_alpha"), values, strict=True))

        def measure(path: Path = path, hold: dict[str, Any] = hold) -> dict[str, Any]:
            config = PivotalTunerConfig(num_steps=steps, rampdown=rampdown, lpips_threshold=threshold, **hold)
            tuning = tune(pipe, pivot_of(pipe, path, out), target_of(pipe, path), config)
            return {**tuning.metrics[0], **drift(pipe, tuning.deltas, latents), "taken": tuning.num_steps}

        results.once({"picture": path.name, "setting": name, **hold, **key}, measure)
    table: list[dict[str, Any]] = [
        {"setting": name, **means(results.of({"setting": name, **key}, paths), MEASURES)} for name in settings
    ]
    ratio = {"setting": "ratio", **{measure: table[0][measure] / table[1][measure] for measure in MEASURES}}
    results.table({"setting": f"locality, mean of {count}", **MEASURES}, [*table, ratio])
    plot_bars(table, out / "locality.png")


@app.command()
def alpha(
    folder: Folder,
    out: Out = OUT,
    count: Count = 2,
    steps: Steps = 60,
    latents: Annotated[int, typer.Option(help="Random latents.")] = 20,
    weight: Annotated[float, typer.Option(help="λ_R.")] = 0.1,
) -> None:
    """Figure 17: at which distance from the pivot to ask for the original picture."""
    results, pipe = Results(out, "alpha"), load()
    values = (2.0, 8.0, 16.0, 30.0, 60.0, 120.0)
    key, paths = {"steps": steps, "latents": latents, "weight": weight}, pictures(folder, count)
    for path, value in itertools.product(paths, (0.0, *values)):

        def measure(path: Path = path, value: float = value) -> dict[str, Any]:
            choice = {"locality_weight": weight, "locality_alpha": value} if value else {}
            config = PivotalTunerConfig(num_steps=steps, lpips_threshold=0.0, **choice)
            tuning = tune(pipe, pivot_of(pipe, path, out), target_of(pipe, path), config)
            return {**tuning.metrics[0], **drift(pipe, tuning.deltas, latents)}

        results.once({"picture": path.name, "alpha": value, **key}, measure)
    rows = results.of(key, paths)
    table = [
        {"alpha": f"{value:g}" if value else "none", **means([r for r in rows if r["alpha"] == value], MEASURES)}
        for value in (0.0, *values)
    ]
    results.table({"alpha": f"α, {steps} steps, mean of {count}", **MEASURES}, table)
    plot_lines(table[1:], table[0], out / "alpha.png")


@app.command()
def cast(
    folder: Folder,
    out: Out = OUT,
    count: Count = 12,
    steps: Annotated[int, typer.Option(help="Updates an image at the most, in one generator and in one's own.")] = 150,
    threshold: Annotated[float, typer.Option(help="LPIPS at which an image is left alone, in both.")] = 0.06,
    rampdown: Annotated[float, typer.Option(help="Share of the updates over which the rate falls, in both.")] = 0.5,
) -> None:
    """Many identities in one generator against one generator each, at the same number of updates an image."""
    results, pipe = Results(out, "cast"), load()
    paths = pictures(folder, count)
    pivots = [pivot_of(pipe, path, out) for path in paths]
    config = PivotalTunerConfig(num_steps=steps, lpips_threshold=threshold, rampdown=rampdown)
    key = {"steps": steps, "threshold": threshold, "rampdown": rampdown}
    for path, pivot in zip(paths, pivots, strict=True):

        def alone(path: Path = path, pivot: Tensor = pivot) -> dict[str, Any]:
            start = time.perf_counter()
            tuning = tune(pipe, pivot, target_of(pipe, path), config)
            return {**tuning.metrics[0], "updates": tuning.num_steps, "seconds": time.perf_counter() - start}

        results.once({"setting": "alone", "picture": path.name, **key}, alone)
    for size in (count // 3, count):
        rest = {"setting": f"cast of {size}", **key}
        if len(results.of(rest, paths[:size])) < size:
            start = time.perf_counter()
            targets = [target_of(pipe, path) for path in paths[:size]]
            tuning = PivotalTuner(config).tune(pipe.generator, pipe.perceptual, pivots[:size], targets)
            seconds = time.perf_counter() - start
            for path, metrics in zip(paths, tuning.metrics, strict=False):
                row = {**metrics, "updates": tuning.num_steps / size, "seconds": seconds / size}
                results.once({**rest, "picture": path.name}, lambda row=row: row)  # type: ignore[misc]
    rows = results.of(key, paths)
    single = {row["picture"]: row["lpips"] for row in rows if row["setting"] == "alone"}
    table = []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        these = [row for row in rows if row["setting"] == setting]
        distances, ratios = [r["lpips"] for r in these], [r["lpips"] / single[r["picture"]] for r in these]
        table.append(
            {
                "setting": setting,
                "mean": float(np.mean(distances)),
                "worst": max(distances),
                "ratio": float(np.mean(ratios)),
                "worst_ratio": max(ratios),
                "mse": float(np.mean([r["mse"] for r in these])),
                "updates": float(np.mean([r["updates"] for r in these])),
                "seconds": float(np.mean([r["seconds"] for r in these])),
            }
        )
    columns = {
        "setting": f"at most {steps} updates an image",
        "mean": "LPIPS",
        "worst": "worst LPIPS",
        "ratio": "LPIPS / alone",
        "worst_ratio": "worst of these",
        "mse": "MSE",
        "updates": "updates an image",
        "seconds": "seconds an image",
    }
    results.table(columns, table)


EDITS = ("smile", "smile=-1", "age", "age=-1", "pose", "pose=-1")


@app.command()
def edits(folder: Folder, out: Out = OUT, count: Count = 6) -> None:
    """The main claim: edits in the tuned generator keep the identity, those of the projection alone don't."""
    results, pipe = Results(out, "edits"), load()
    paths = pictures(folder, count)
    for path in paths:
        key = {"picture": path.name}
        if all(any({**key, "edit": e}.items() <= row.items() for row in results.rows) for e in EDITS):
            continue
        pivot = pivot_of(pipe, path, out)
        tuning = tune(pipe, pivot, target_of(pipe, path), PivotalTunerConfig())
        original, _ = look(load_image(path))
        for edit in EDITS:
            row: dict[str, Any] = {}
            for name, deltas in (("projected", {}), ("tuned", tuning.deltas)):
                who = Personalization(deltas, {"subject": pivot[0].cpu()}, pipe.base)
                plain, edited = (look(pipe.edit(who, e)[0]) for e in (None, edit))
                row |= {
                    f"{name}_identity": identity_distance(original, edited[0]),
                    f"{name}_change": identity_distance(plain[0], edited[0]),
                    f"{name}_turn": edited[1] - plain[1],
                }
            results.once({**key, "edit": edit}, lambda row=row: row)  # type: ignore[misc]
    table = [
        {
            "edit": edit,
            "kept": f"{sum(r['tuned_identity'] < r['projected_identity'] for r in these)} of {len(these)}",
            **means(these, [key for key in these[0] if key not in ("picture", "edit")]),
        }
        for edit in EDITS
        if (these := results.of({"edit": edit}, paths))
    ]
    columns = {
        "edit": f"edit, mean of {count}",
        "projected_identity": "identity, projected",
        "tuned_identity": "identity, tuned",
        "kept": "nearer when tuned",
        "projected_turn": "yaw, projected (°)",
        "tuned_turn": "yaw, tuned (°)",
    }
    results.table(columns, table)


@app.command()
def ablation(
    photo: Annotated[Path | None, typer.Argument(help="A photograph; the astronaut's by default.")] = None,
    out: Out = OUT,
    steps: Annotated[int, typer.Option(help="Tuning steps, 350 in the paper.")] = 150,
    projection: Annotated[int, typer.Option(help="Steps in W, 450 in the paper.")] = 100,
    plus: Annotated[int, typer.Option(help="Steps in W+, 2100 in the paper.")] = 500,
) -> None:
    """Figure 16: other pivots than the one in W, and pivots that move along."""
    results, pipe = Results(out, "ablation"), load()
    if photo is None:
        import skimage

        name, image = "astronaut", Image.fromarray(skimage.data.astronaut())
    else:
        name, image = photo.stem, load_image(photo)
    key = {"picture": name, "steps": steps, "projection": projection, "plus": plus}
    image = align(image, select(FaceAnalyzer().detect(image), None).landmarks, pipe.generator.resolution)
    tuner = PivotalTunerConfig(num_steps=steps, lpips_threshold=0.0)
    moving = dataclasses.replace(tuner, pivot_learning_rate=5e-3)
    w = WProjectorConfig(num_steps=projection)
    settings: dict[str, tuple[Projector, PivotalTunerConfig]] = {
        "A, pivot in W": (WProjector(w), tuner),
        "B, pivot in W+": (WPlusProjector(dataclasses.replace(w, num_steps=plus)), tuner),
        "C, mean latent": (MeanProjector(), tuner),
        "D, mean latent, optimised along": (MeanProjector(), moving),
        "E, random latent": (RandomProjector(), tuner),
        "F, random latent, optimised along": (RandomProjector(), moving),
    }
    shown_edits, grid = (None, "smile", "pose", "pose=-1"), []
    for setting, (projector, config) in settings.items():
        pipe.projector, pipe.tuner = projector, PivotalTuner(config)
        saved = out / "ablation" / "-".join([name, *map(str, (steps, projection, plus)), setting[0]])
        if not saved.exists():
            pipe.personalize(image, run_folder=saved.with_suffix(".run")).save_pretrained(saved)
        who = Personalization.from_pretrained(saved)
        shown = [pipe.edit(who, edit)[0] for edit in shown_edits]
        grid.append(shown)

        def measure(who: Personalization = who, shown: list[Image.Image] = shown) -> dict[str, Any]:
            original, _ = look(image)
            plain, smile, right, left = (look(picture) for picture in shown)
            return {
                **who.metrics["subject"],
                "identity": identity_distance(original, plain[0]),
                "identity_smile": identity_distance(original, smile[0]),
                "identity_pose": (identity_distance(original, right[0]) + identity_distance(original, left[0])) / 2,
                "turn": right[1] - left[1],
            }

        results.once({"setting": setting, **key}, measure)
    columns = {
        "setting": "pivot",
        "lpips": "LPIPS",
        "mse": "MSE",
        "w_distance": "‖w_p − w̄‖",
        "identity": "identity",
        "identity_smile": "identity, smile",
        "identity_pose": "identity, pose ±1",
        "turn": "turn, pose ±1 (°)",
    }
    results.table(columns, [row for row in results.rows if key.items() <= row.items()])
    rows = [side_by_side(column) for column in zip(*grid, strict=True)]
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)))
    for i, row in enumerate(rows):
        sheet.paste(row, (0, i * row.height))
    save_image(sheet, out / "ablation.jpg")


def look(picture: Image.Image) -> tuple[np.ndarray, float]:
    """Embedding and yaw of the widest face; not a number where there is none."""
    face = widest(FaceAnalyzer().detect(picture))
    if face is None:
        return np.full(128, np.nan, np.float32), float("nan")
    return embedding(picture, face), head_pose(face.landmarks).yaw


def plot_bars(table: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Targets and random latents side by side, as in Figure 15."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
    for axis, measure in zip(axes, ("lpips", "mse"), strict=True):
        for i, row in enumerate(table):
            heights = [row[measure], row[f"drift_{measure}"]]
            axis.bar([x + 0.4 * i for x in (0, 1)], heights, 0.4, label=f"{row['setting']}")
        axis.set_xticks([0.2, 1.2], ["targets", "random latents"])
        axis.set_ylabel(measure.upper())
    axes[0].legend(title="locality", frameon=False, loc="upper left")
    figure.savefig(path, dpi=120)


def plot_lines(table: Sequence[Mapping[str, Any]], none: Mapping[str, Any], path: Path) -> None:
    """Targets and random latents over α, as in Figure 17."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
    for axis, measure in zip(axes, ("lpips", "mse"), strict=True):
        for i, (key, name) in enumerate(((measure, "targets"), (f"drift_{measure}", "random latents"))):
            axis.plot(
                [float(row["alpha"]) for row in table], [row[key] for row in table], "o-", color=f"C{i}", label=name
            )
            axis.axhline(none[key], color=f"C{i}", linestyle=":")
        axis.set_xscale("log", base=2)
        axis.set_xlabel("α (dotted: no locality)")
        axis.set_ylabel(measure.upper())
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    app()
