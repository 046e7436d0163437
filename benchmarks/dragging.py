"""Dragging, by DragGAN's protocol on pairs of generated faces, and on tuned portraits.

    python benchmarks/dragging.py pairs
    python benchmarks/dragging.py portraits faces

`pairs` moves landmarks of one generated face to where another one has them, and asks dlib where they are then: the mean
distance in pixels at 512², as in Table 1 of Pan et al. (2023). One landmark is one of the corners of eyes and mouth and
the tip of the nose, drawn for each pair; five are all of these. `portraits` personalises every portrait once, raises
the corners of the mouth, opens the mouth and turns the tip of the nose. Both append one row per drag to OUT and resume.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import torch
import typer
from PIL import Image

from pti_hub import Personalization, PTIPipeline
from pti_hub.edits import Drag, DragConfig
from pti_hub.edits import drag as drag_points
from pti_hub.faces import Face, FaceAnalyzer, embedding, identity_distance, widest
from pti_hub.images import find_pictures, save_image, to_pil
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.storage import append_row, read_rows

app = typer.Typer()

FIVE = (36, 45, 30, 48, 54)
TRUNCATION = 0.7
JUDGED_AT = 512

Out = Annotated[Path, typer.Option(help="Folder for the results.")]


@app.command()
def pairs(
    count: Annotated[int, typer.Option(min=1, help="Number of pairs of faces.")] = 100,
    all_count: Annotated[int, typer.Option(min=0, help="Number of pairs of which all 68 landmarks are moved.")] = 5,
    out: Out = Path("outputs/dragging"),
) -> None:
    """Move 1, 5 and 68 landmarks of generated faces."""
    pipe = quiet_pipeline()
    results = out / "dragging_pairs.jsonl"
    rows = read_rows(results)
    done = {(row["pair"], row["points"]) for row in rows}
    random = torch.Generator().manual_seed(0)
    chosen = np.random.default_rng(0)
    analyzer, previous, number = FaceAnalyzer(), None, 0
    while number < count:
        w = pipe.generator.mapping(torch.randn(1, pipe.generator.z_dim, generator=random), TRUNCATION)
        ws = w[:, None].expand(-1, pipe.generator.num_ws, -1).contiguous()
        if (landmarks := landmarks_of(analyzer, render(pipe, ws))) is None:
            continue
        if previous is None:
            previous = ws, landmarks
            continue
        (start, handles), previous = previous, None
        one = [FIVE[int(chosen.integers(len(FIVE)))]]
        for points in (one, list(FIVE), list(range(68))):
            if (number, len(points)) in done or (len(points) == 68 and number >= all_count):
                continue
            row = {"pair": number, "points": len(points)}
            row |= of_pair(pipe, analyzer, start, handles[points], landmarks[points], points)
            append_row(results, row)
            rows.append(row)
            print(row, flush=True)
        number += 1
    for points in (1, 5, 68):
        print(points, summary([row for row in rows if row["points"] == points]))


def of_pair(
    pipe: PTIPipeline, analyzer: FaceAnalyzer, ws: torch.Tensor, handles: Any, targets: Any, points: Sequence[int]
) -> dict[str, Any]:
    """The measurements of one drag of a generated face; landmarks in pixels of the full picture."""
    scale = JUDGED_AT / pipe.generator.resolution
    start = time.perf_counter()
    found = drag_points(
        "drag",
        pipe.generator,
        {},
        ws,
        [(tuple(a), tuple(b)) for a, b in zip(handles.tolist(), targets.tolist(), strict=True)],
        pipe.principal_components,
        preconditioner=pipe.encoder.preconditioner,  # type: ignore[union-attr]
        # Another face may lie farther off than a tuned one may go. DragGAN, too, ends one pixel of 512² off.
        config=DragConfig(longest=1.0, arrival=0.5),
    )
    seconds = time.perf_counter() - start
    after = landmarks_of(analyzer, render(pipe, found.direction.apply(ws)))
    before = np.linalg.norm(handles - targets, axis=1).mean() * scale
    # Who is no face any more has not come nearer.
    distance = before if after is None else np.linalg.norm(after[list(points)] - targets, axis=1).mean() * scale
    return {"before": float(before), "after": float(distance), "is_face": after is not None} | told(found, seconds)


@app.command()
def portraits(
    photos: Annotated[Path, typer.Argument(help="Folder of aligned portraits.")],
    out: Out = Path("outputs/dragging"),
) -> None:
    """Drag the faces of portraits."""
    pipe = quiet_pipeline()
    results = out / "dragging_portraits.jsonl"
    rows = read_rows(results)
    done = {(row["portrait"], row["task"]) for row in rows}
    out.mkdir(parents=True, exist_ok=True)
    for path in find_pictures(photos):
        person = personalization(pipe, path, out)
        reconstruction = pipe.edit(person)[0]
        face = widest(FaceAnalyzer().detect(reconstruction))
        if face is None:
            print(f"{path.name}: no face")
            continue
        for task, moves in tasks(face.landmarks, reconstruction.width).items():
            if (path.name, task) in done:
                continue
            row = {"portrait": path.name, "task": task}
            row |= of_portrait(pipe, person, reconstruction, face, moves, out / f"{path.stem}_{task}.png")
            append_row(results, row)
            rows.append(row)
            print(row, flush=True)
    for task in dict.fromkeys(row["task"] for row in rows):
        print(task, summary([row for row in rows if row["task"] == task]))


def tasks(landmarks: Any, side: int) -> dict[str, list[tuple[int, tuple[float, float], tuple[float, float]]]]:
    """Number of the landmark, from where and to where, in pixels of the face; lengths are given at 256²."""
    unit = side / 256

    def move(i: int, right: float, down: float) -> tuple[int, tuple[float, float], tuple[float, float]]:
        x, y = landmarks[i]
        return i, (x, y), (x + right * unit, y + down * unit)

    middle = landmarks[[36, 45]].mean(0)[0]
    inwards = 1 if landmarks[30][0] < middle else -1
    return {
        "mouth corners up": [move(48, -2, -4), move(54, 2, -4)],
        "mouth open": [move(57, 0, 8), move(51, 0, 0)],
        "nose 5 px": [move(30, 5 * inwards, 0)],
        "nose 10 px": [move(30, 10 * inwards, 0)],
        "nose 20 px": [move(30, 20 * inwards, 0)],
    }


def of_portrait(
    pipe: PTIPipeline, person: Personalization, before: Image.Image, face: Face, moves: Any, file: Path
) -> dict[str, Any]:
    """The measurements of one drag of a portrait, without a mask, and for the mouth with one as well."""
    pairs_of_points = [(handle, target) for _, handle, target in moves]
    start = time.perf_counter()
    found = pipe.drag(person, pairs_of_points)
    seconds = time.perf_counter() - start
    save_image(found.image, file)
    after = widest(FaceAnalyzer().detect(found.image))
    row: dict[str, Any] = {"arrived": float(np.mean(found.arrived)), "is_face": after is not None, "seconds": seconds}
    row |= {"own": max(found.distances)}
    if after is not None:
        numbers, targets = [i for i, _, _ in moves], np.array([target for _, _, target in moves])
        errors = np.linalg.norm(after.landmarks[numbers] - targets, axis=1) * 256 / before.width
        row |= {"after": float(errors.mean()), "after_max": float(errors.max())}
        row |= {"identity": identity_distance(embedding(before, face), embedding(found.image, after))}
    if len(moves) > 1:
        mask = lower_half(face, before.size)
        held = pipe.drag(person, pairs_of_points, mask=mask)
        raw = pipe.edit(person, held.direction)[0]
        row |= {"arrived_masked": float(np.mean(held.arrived)), "moved_outside": moved(before, held.image, ~mask)}
        row |= {"moved_outside_unmasked": moved(before, found.image, ~mask)}
        row |= {"moved_outside_raw": moved(before, raw, ~mask)}
    return row


def lower_half(face: Face, size: tuple[int, int]) -> np.ndarray:
    """From the bridge of the nose to below the chin, as wide as the face."""
    mask = np.zeros(size[::-1], np.uint8)
    outline = [*face.landmarks[2:15], face.landmarks[28]]
    cv2.fillConvexPoly(mask, cv2.convexHull(np.array(outline, np.float32)).astype(np.int32), 1)
    return cv2.dilate(mask, np.ones((size[0] // 20, size[0] // 20))) > 0


def moved(before: Image.Image, after: Image.Image, where: np.ndarray) -> float:
    """How far what lies there moved, in pixels at 256²: the 99th percentile of the optical flow."""
    small = [np.asarray(picture.convert("L").resize((256, 256), Image.Resampling.BOX)) for picture in (before, after)]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*small, None)  # type: ignore[call-overload]
    there = cv2.resize(where.astype(np.uint8), (256, 256), interpolation=cv2.INTER_NEAREST) > 0
    return float(np.quantile(np.linalg.norm(flow, axis=2)[there], 0.99))


def personalization(pipe: PTIPipeline, path: Path, out: Path) -> Personalization:
    """The personalisation of a portrait, saved for the next run."""
    folder = out / path.stem
    if not folder.is_dir():
        pipe(path).personalization.save_pretrained(folder)
    return Personalization.from_pretrained(folder)


def quiet_pipeline() -> PTIPipeline:
    """The default pipeline, without bars and with what drags share."""
    pipe = PTIPipeline.from_pretrained(DEFAULT_CHECKPOINT)
    pipe.set_progress_bar_config(disable=True)
    assert pipe.principal_components
    return pipe


@torch.no_grad()
def render(pipe: PTIPipeline, ws: torch.Tensor) -> Image.Image:
    """The picture of a latent."""
    return to_pil(pipe.generator(ws))[0]


def landmarks_of(analyzer: FaceAnalyzer, picture: Image.Image) -> Any:
    """dlib's landmarks [68, 2]; `None` if there is no face."""
    face = widest(analyzer.detect(picture))
    return None if face is None else face.landmarks


def told(found: Drag, seconds: float) -> dict[str, Any]:
    """What the drag says of itself."""
    own = {"own": float(np.mean(found.distances)), "arrived": float(np.mean(found.arrived))}
    return own | {"steps": found.num_steps, "seconds": seconds}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means over rows, of each number that some of them have."""
    names = dict.fromkeys(key for row in rows for key, value in row.items() if isinstance(value, (int, float)))
    means = {name: round(float(np.mean([row[name] for row in rows if name in row])), 3) for name in names}
    return {"drags": len(rows)} | means


if __name__ == "__main__":
    app()
