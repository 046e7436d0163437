"""The default job against another schedule, photograph by photograph: quality, edits, harm elsewhere, and time.

    npm pack @vladmandic/face-api@1.7.15
    python benchmarks/tuning.py faces --face-api vladmandic-face-api-1.7.15.tgz

"before" is the schedule of version 0.1: 25 steps of projection, then Adam on the plain loss until LPIPS is 0.06. Every
photograph is tuned by both, one after the other. A run that was stopped resumes.

- lpips, lpips_256, lpips_vgg_256, mse_256: of the whole picture, at 1024² or 256²; mse_face: of the face, at 1024².
- identity: distance of dlib's embeddings from the photograph.
- delta_norm: ‖θ* − θ‖; drift: LPIPS at 256² between the pictures of 50 random latents before and after tuning.
- smile, age, pose: half the change of a label between edits of −1 and +1, by the networks that the edits were learned
  from: logits, years, degrees. Only with --face-api.
- find, project, tune, render: seconds for the face, the pivot, the weights, and a picture with an edit.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
import typer
from torch import Tensor

from pti_hub import PivotalTuner, PivotalTunerConfig, PTIPipeline
from pti_hub.evaluation.tables import cell
from pti_hub.faces import FaceAnalyzer, embedding, identity_distance, widest
from pti_hub.generators import broadcast_ws, tuned_synthesis
from pti_hub.images import find_pictures, to_pil
from pti_hub.optim import reused_memory
from pti_hub.personalization import add_deltas
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.pipelines.inputs import Target, read_target
from pti_hub.projectors import REFINED, EncoderProjector
from pti_hub.storage import append_row, read_rows

_T = TypeVar("_T")

LATENTS = 50
EDITS = ("smile", "age", "pose")


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of aligned photographs.")],
    out: Annotated[Path, typer.Option(help="File for the rows.")] = Path("outputs/tuning.jsonl"),
    face_api: Annotated[Path | None, typer.Option(help="Package of the label networks.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Number of photographs; all by default.")] = None,
) -> None:
    """Tune every photograph by both schedules, and print a table."""
    pipe = PTIPipeline.from_pretrained(DEFAULT_CHECKPOINT)
    assert pipe.encoder is not None
    older = EncoderProjector(pipe.encoder, dataclasses.replace(REFINED, refine_steps=25, resolution=256))
    plain = dataclasses.replace(PivotalTunerConfig.paper(), num_steps=120, lpips_threshold=0.06)
    jobs = {"before": (older, PivotalTuner(plain)), "after": (pipe.projector, pipe.tuner)}
    rows = read_rows(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["picture"], row["schedule"]) for row in rows}
    judge = Judge(pipe, face_api)
    for path in find_pictures(folder)[:count]:
        for name, (projector, tuner) in jobs.items():
            if (path.name, name) in done:
                continue
            pipe.projector, pipe.tuner = projector, tuner
            rows.append({"picture": path.name, "schedule": name, **measure(pipe, path, judge)})
            append_row(out, rows[-1])
            print(rows[-1], flush=True)
    print(table(rows))


def measure(pipe: PTIPipeline, path: Path, judge: Judge) -> dict[str, Any]:
    """One photograph by one schedule."""
    target, find = timed(lambda: read_target(pipe, path, "auto", None))
    generator, perceptual = pipe.generator, pipe.perceptual
    pivot, project = timed(lambda: pipe.projector.project(generator, pipe.projector_perceptual, target.x).pivot)
    tuning, tune = timed(
        lambda: pipe.tuner.tune(generator, perceptual, [pivot], [target.x], likenesses=[target.likeness])
    )
    theta = add_deltas(generator, tuning.deltas)
    _, render = timed(lambda: judge.edited(theta, pivot, "smile", 1))
    seconds = {"find": find, "project": project, "tune": tune, "render": render, "job": find + project + tune + render}
    row = {"steps": tuning.num_steps, **judge.reconstruction(theta, pivot, target), **judge.harm(theta)}
    row["delta_norm"] = math.sqrt(sum(d.square().sum().item() for d in tuning.deltas.values()))
    return row | judge.edits(theta, pivot) | seconds


class Judge:
    """What is measured of tuned weights."""

    def __init__(self, pipe: PTIPipeline, face_api: Path | None) -> None:
        self.pipe, self.faces = pipe, FaceAnalyzer()
        self.generator = pipe.generator
        z = torch.randn(LATENTS, self.generator.z_dim, generator=torch.Generator().manual_seed(0))
        self.ws = self.generator.mapping(z)
        with torch.no_grad(), reused_memory():
            self.originals = [self.generator.synthesis(w[None], resolution=256) for w in self.ws]
        self.labels = None if face_api is None else label_networks(face_api)

    @torch.no_grad()
    def reconstruction(self, theta: dict[str, Tensor], pivot: Tensor, target: Target) -> dict[str, float]:
        """Distances of the tuned picture from the photograph."""
        assert target.likeness is not None
        picture, face = tuned_synthesis(self.generator, theta, pivot), (target.likeness.importance > 0.9).float()
        small, photograph = (F.interpolate(x, size=(256, 256), mode="area") for x in (picture, target.x))
        return {
            "lpips": self.pipe.perceptual(picture, target.x).item(),
            "lpips_256": self.pipe.perceptual(small, photograph).item(),
            "lpips_vgg_256": self.pipe.projector_perceptual(small, photograph).item(),
            "mse_256": F.mse_loss(small, photograph).item(),
            "mse_face": ((picture - target.x).square().mean(1) * face[0]).sum().item() / face.sum().item(),
            "identity": identity_distance(self._identity(target.x), self._identity(picture)),
        }

    def _identity(self, picture: Tensor) -> np.ndarray:
        image = to_pil(picture)[0]
        face = widest(self.faces.detect(image))
        return np.full(128, np.nan, np.float32) if face is None else embedding(image, face)

    @torch.no_grad()
    def harm(self, theta: dict[str, Tensor]) -> dict[str, float]:
        """How far pictures of other latents have moved."""
        with reused_memory():
            moved = [
                self.pipe.perceptual(tuned_synthesis(self.generator, theta, w[None], resolution=256), original).item()
                for w, original in zip(self.ws, self.originals, strict=True)
            ]
        return {"drift": sum(moved) / len(moved)}

    @torch.no_grad()
    def edited(self, theta: dict[str, Tensor], pivot: Tensor, edit: str, strength: float) -> Tensor:
        """The picture of an edited pivot."""
        (parsed,) = self.pipe.parse(f"{edit}=raw:{strength}")
        ws = parsed.apply(broadcast_ws(self.generator, pivot))
        return tuned_synthesis(self.generator, theta, ws)

    def edits(self, theta: dict[str, Tensor], pivot: Tensor) -> dict[str, float]:
        """How much edits change; NaN where no face is found."""
        if self.labels is None:
            return {}
        changes = {}
        for edit in EDITS:
            low, high = (self.labels(self.edited(theta, pivot, edit, s), edit) for s in (-1, 1))
            changes[edit] = (high - low) / 2
        return changes


def label_networks(face_api: Path) -> Callable[[Tensor, str], float]:
    """A function from a picture and a label's name to the label."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "shipped_edits"))
    from face_attributes import FaceAttributes
    from face_labels import LABELS, Labeller

    class Photographs(Labeller):
        def __init__(self) -> None:
            self.attributes, self.faces = FaceAttributes.from_package(face_api), FaceAnalyzer()

        @torch.no_grad()
        def label(self, picture: Tensor, name: str) -> float:
            image = to_pil(F.interpolate(picture, size=(512, 512), mode="area"))[0]
            face = widest(self.faces.detect(image))
            return math.nan if face is None else self._label(image, face.box)[0][LABELS.index(name)]

    return Photographs().label


def timed(work: Callable[[], _T]) -> tuple[_T, float]:
    """The result of a call, and the seconds it took."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def table(rows: list[dict[str, Any]]) -> str:
    """Means of both schedules, and the mean difference with its 95 % interval (bootstrap over photographs)."""
    both = {name: {row["picture"]: row for row in rows if row["schedule"] == name} for name in ("before", "after")}
    pictures = sorted(both["before"].keys() & both["after"].keys())
    lines = [
        f"| mean of {len(pictures)} | before | after | difference | 95 % interval | largest after |",
        "|---" * 6 + "|",
    ]
    for key in [key for key in rows[0] if key not in ("picture", "schedule")]:
        before, after = (np.array([both[name][p][key] for p in pictures], float) for name in ("before", "after"))
        known = np.isfinite(before) & np.isfinite(after)
        before, after = before[known], after[known]
        difference = cell((after - before).tolist(), draws=10_000)
        lines.append(
            f"| {key} | {before.mean():.4f} | {after.mean():.4f} | {difference.mean:+.4f} "
            f"| {difference.low:+.4f} to {difference.high:+.4f} | {after.max():.4f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
