"""Learn the edit directions of the default generator from the generator's own pictures.

Random latents are rendered and the faces labelled: smile, age, gender, head pose, openness of eyes and mouth. Ridge
regression gives the gradient of every label in W. The directions combine these gradients such that each direction moves
one label and no other (conditional manipulation: Shen et al. 2020, InterfaceGAN). Measurements then correct the errors
of the linear model: small steps are rendered, and the directions recombined until their measured effects are
independent.

    pip install 'pti-hub[faces]'
    npm pack @vladmandic/face-api@1.7.15
    python examples/learn_directions.py sample runs/directions --face-api vladmandic-face-api-1.7.15.tgz
    python examples/learn_directions.py fit runs/directions --face-api vladmandic-face-api-1.7.15.tgz
    python examples/learn_directions.py verify runs/directions OUTPUT --face-api vladmandic-face-api-1.7.15.tgz
    python examples/learn_directions.py sheet OUTPUT sheet.png

OUTPUT is the folder of the new catalogue; the package's catalogue is in `src/pti_hub/edits/data/mobilestylegan-ffhq`.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from face_labels import LABELS, Labeller, to_pil
from PIL import Image, ImageDraw
from torch import Tensor
from tqdm import tqdm

from pti_hub.checkpoints.openvino import load_mobile_stylegan
from pti_hub.edits import Direction, load_edits, save_edits
from pti_hub.edits.learning import independent_steps, ridge
from pti_hub.optim import reused_memory
from pti_hub.storage import replaced_file

GENDER = LABELS.index("gender")
CONTROLLED = [i for i, label in enumerate(LABELS) if label != "roll"]
# Step of each edit, in standard deviations of the edit's label over the samples; for pose, that is 16 degrees.
STEPS = {"smile": 1.0, "age": 1.0, "pose": 1.0, "gender": 0.9, "eyes_open": 1.5, "mouth_open": 1.2}
# The layers up to 64² and the first one at 128²: finer layers render colours and background, which no edit changes.
LAST_LAYER = 9
# In FFHQ, glasses correlate with age; the coarsest layers render glasses, but not wrinkles.
FIRST_LAYER = {"age": 3}
STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0)
# Decreases of a label below this many standard deviations do not count: a closed mouth can't close any further.
NEARLY = 0.1

CHUNK = 50  # pictures per task, which an interruption loses

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

Run = Annotated[Path, typer.Argument(help="Folder of the run; results in it are not computed again.")]
FaceApi = Annotated[Path, typer.Option(help="Tarball of @vladmandic/face-api 1.7.15.")]
Workers = Annotated[int, typer.Option(help="Number of processes, of one thread each.", min=1)]


_labeller: Labeller


def _start(face_api: Path) -> None:
    global _labeller
    _labeller = Labeller(face_api)


def _sample_chunk(path: Path) -> Path:
    """Draw, render and label one chunk; the seed is the number of the chunk."""
    rng = torch.Generator().manual_seed(int(path.stem))
    generator = _labeller.generator
    z = torch.randn(CHUNK, generator.z_dim, generator=rng)
    psi = 0.7 + 0.3 * torch.rand(CHUNK, 1, generator=rng)
    w = generator.w_avg.lerp(generator.mapping(z), psi)
    labels, embeddings = _labeller(w)
    with replaced_file(path) as partial, partial.open("wb") as file:
        np.savez(file, w=w.numpy(), labels=labels, embeddings=embeddings)
    return path


def pool(face_api: Path, workers: int) -> Any:
    return multiprocessing.get_context("spawn").Pool(workers, _start, (face_api,))


@app.command()
def sample(
    run: Run,
    face_api: FaceApi,
    samples: Annotated[int, typer.Option(help="Number of pictures to render and label.", min=CHUNK)] = 2000,
    workers: Workers = 2,
) -> None:
    """Draw latents, render them, and label the faces."""
    folder = run / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:05d}.npz" for i in range(samples // CHUNK)]
    missing = [path for path in paths if not path.exists()]
    with pool(face_api, workers) as workers_:
        for _ in tqdm(workers_.imap_unordered(_sample_chunk, missing), total=len(missing)):
            pass


def _label_chunk(ws: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return _labeller(ws)


def measure(workers: Any, ws: Tensor, readout: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels [..., 8], with gender from `with_readout`, and embeddings [..., 128] of latents [..., num_ws, w_dim]."""
    chunks = ws.flatten(0, -3).split(10)
    results = list(tqdm(workers.imap(_label_chunk, chunks), total=len(chunks)))
    labels, embeddings = (np.concatenate(part).astype(np.float64) for part in zip(*results, strict=True))
    shape = ws.shape[:-2]
    return with_readout(labels, embeddings, readout).reshape(*shape, -1), embeddings.reshape(*shape, -1)


def latents(count: int, seed: int) -> Tensor:
    """Latents [count, num_ws, w_dim] that are not among the samples, with truncation 0.7."""
    generator = load_mobile_stylegan()
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    return generator.mapping(z, truncation=0.7)[:, None].expand(-1, generator.num_ws, -1)


class Samples(NamedTuple):
    """Latents and labels for the regression.

    Attributes:
        w: [N, w_dim], centred.
        labels: [N, 8], centred and in standard deviations; outliers are clipped.
        std: [8], the labels' standard deviations.
        readout: [129], the linear function that predicts gender from embeddings.
    """

    w: np.ndarray
    labels: np.ndarray
    std: np.ndarray
    readout: np.ndarray


def load_samples(run: Path) -> Samples:
    """Load the samples that the command `sample` wrote, except pictures without exactly one face."""
    chunks = [np.load(path) for path in sorted((run / "samples").glob("*.npz"))]
    if not chunks:
        raise typer.BadParameter(f"{run} holds no samples; run the command sample first")
    w, labels, embeddings = (
        np.concatenate([chunk[key] for chunk in chunks]).astype(np.float64) for key in ("w", "labels", "embeddings")
    )
    has_face = np.isfinite(labels).all(axis=1)
    w, labels, embeddings = w[has_face], labels[has_face], embeddings[has_face]
    readout = fit_readout(embeddings, labels[:, GENDER])
    labels = with_readout(labels, embeddings, readout)
    labels = labels.clip(*np.percentile(labels, [1, 99], axis=0))
    std = labels.std(axis=0)
    return Samples(w - w.mean(axis=0), (labels - labels.mean(axis=0)) / std, std, readout)


def fit_readout(embeddings: np.ndarray, gender: np.ndarray) -> np.ndarray:
    """Fit the linear function that predicts gender [N] from embeddings [N, 128]: weights, then the constant, [129]."""
    mean = embeddings.mean(axis=0)
    centred = torch.from_numpy(gender - gender.mean())[:, None]
    readout = ridge(torch.from_numpy(embeddings - mean), centred)[0][:, 0].numpy()
    return np.append(readout, gender.mean() - mean @ readout)


def with_readout(labels: np.ndarray, embeddings: np.ndarray, readout: np.ndarray) -> np.ndarray:
    """Replace the label gender by the mean of the network's logit and the readout.

    The network was trained on two classes, so its logit is mostly noise among faces of one class. The embedding was
    trained to tell people apart and does not share this noise.
    """
    labels = labels.copy()
    labels[:, GENDER] = (labels[:, GENDER] + embeddings @ readout[:-1] + readout[-1]) / 2
    return labels


@app.command()
def fit(
    run: Run,
    face_api: FaceApi,
    probes: Annotated[int, typer.Option(help="Number of latents to measure the effects on.", min=2)] = 24,
    rounds: Annotated[int, typer.Option(help="Number of times to recombine the directions.", min=0)] = 1,
    workers: Workers = 2,
) -> None:
    """Fit directions to the samples, make them independent, and scale them to their steps."""
    samples = load_samples(run)
    names = [LABELS[i] for i in CONTROLLED]
    w = torch.from_numpy(samples.w)
    b, explained = ridge(w, torch.from_numpy(samples.labels[:, CONTROLLED]))
    print(f"{len(w)} samples; variance explained:", dict(zip(names, explained.numpy().round(2).tolist(), strict=True)))
    base = latents(probes, seed=1_000_000)
    d = independent_steps(b, w).float()[:, None].repeat(1, base.shape[1], 1)
    d[:, LAST_LAYER + 1 :] = 0
    for k, name in enumerate(names):
        d[k, : FIRST_LAYER.get(name, 0)] = 0
    with pool(face_api, workers) as workers_:
        for _ in range(rounds):
            ws = torch.stack([torch.stack([base - step, base + step]) for step in d])
            labels = (measure(workers_, ws, samples.readout)[0] / samples.std)[..., CONTROLLED]
            # [direction, label]; the median is robust against single faces that go wrong.
            response = np.nanmedian((labels[:, 1] - labels[:, 0]) / 2, axis=1)
            print(response.round(2))
            d = torch.einsum("kj,jlw->klw", torch.from_numpy(np.linalg.inv(response)).float(), d)
    provenance = (
        f"ridge regression on {len(samples.w)} labelled samples, layers 0 to {LAST_LAYER}, "
        f"corrected by measurement {rounds}x; examples/learn_directions.py"
    )
    directions = {k: Direction(k, step * d[names.index(k)], provenance) for k, step in STEPS.items()}
    save_edits(run / "directions", directions)


@app.command()
def verify(
    run: Run,
    output: Annotated[Path, typer.Argument(help="Folder for the directions and their measurements.")],
    face_api: FaceApi,
    count: Annotated[int, typer.Option("--latents", help="Number of new latents to edit.", min=1)] = 20,
    workers: Workers = 2,
) -> None:
    """Measure the directions on new latents, and write them with the measurements."""
    samples = load_samples(run)
    directions = load_edits(run / "directions")
    base = latents(count, seed=2_000_000)
    moves = [s for s in STRENGTHS if s]
    ws = torch.stack([base] + [d.apply(base, s) for d in directions.values() for s in moves])
    with pool(face_api, workers) as workers_:
        labels, embeddings = measure(workers_, ws, samples.readout)
    labels /= samples.std
    measured = {}
    for i, direction in enumerate(directions.values()):
        rows = [1 + i * len(moves) + moves.index(s) if s else 0 for s in STRENGTHS]
        metrics = figures(direction.name, labels[rows], embeddings[rows])
        metrics |= {"label_std": float(samples.std[LABELS.index(direction.name)]), "latents": count}
        metrics["command"] = f"python examples/learn_directions.py verify RUN OUTPUT --latents {count}"
        print(direction.name, metrics)
        measured[direction.name] = dataclasses.replace(direction, metrics=metrics)
    save_edits(output, measured)


def figures(name: str, labels: np.ndarray, embeddings: np.ndarray) -> dict[str, Any]:
    """Measure how well an edit changes its own label and nothing else.

    Args:
        name: Name of the edit.
        labels: [strengths, latents, 8], in standard deviations.
        embeddings: [strengths, latents, 128].

    Returns:
        `hit_rate`: how often the label moves in the right direction at strengths -1 and 1; `hit_rates`: the rates at -1
        and at 1 separately. `monotone_rate`: share of latents whose label never decreases between strengths -2, -1, 0,
        1 and 2; `nearly_monotone_rate`: share whose label never decreases by more than `NEARLY`. `shift`: mean change
        of the label at -1 and 1, in standard deviations; `other_shifts`: mean absolute change of the other labels.
        `identity_distance`: median distance to the unedited face at -1 and 1; `identity_below_half`: share of distances
        below 0.5. `faces_lost`: share of all pictures without exactly one face.
    """
    own = LABELS.index(name)
    zero, minus, plus = (STRENGTHS.index(s) for s in (0.0, -1.0, 1.0))
    moved = np.stack([labels[zero] - labels[minus], labels[plus] - labels[zero]])
    rises = np.diff(labels[..., own], axis=0)
    distance = np.linalg.norm(embeddings[[minus, plus]] - embeddings[zero], axis=-1)
    result: dict[str, Any] = {
        "hit_rate": (moved[..., own] > 0).mean(),
        "monotone_rate": (rises >= 0).all(axis=0).mean(),
        "nearly_monotone_rate": (rises >= -NEARLY).all(axis=0).mean(),
        "shift": np.nanmean(moved[..., own]),
        "identity_distance": np.nanmedian(distance),
        "identity_below_half": (distance < 0.5).mean(),
        "faces_lost": np.isnan(labels).any(axis=-1).mean(),
    }
    result = {key: round(float(value), 3) for key, value in result.items()}
    others = {k: round(float(np.nanmean(abs(moved[..., i]))), 3) for i, k in enumerate(LABELS) if i != own}
    hits = (moved[..., own] > 0).mean(axis=1).round(3).tolist()
    return result | {"hit_rates": hits, "other_shifts": others}


@app.command()
def sheet(
    catalogue: Annotated[Path, typer.Argument(help="Folder of directions.")],
    picture: Annotated[Path, typer.Argument(help="Picture file to write.")],
    count: Annotated[int, typer.Option("--latents", help="Number of people, one below the other.", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="Seed of the latents.")] = 3_000_000,
) -> None:
    """Draw a contact sheet with one row per person and edit, at strengths from -2 to 2."""
    torch.set_grad_enabled(False)
    generator, size = load_mobile_stylegan(), 256
    rows = [(d, w) for w in latents(count, seed) for d in load_edits(catalogue).values()]
    canvas = Image.new("RGB", (size * len(STRENGTHS), size * len(rows)))
    draw = ImageDraw.Draw(canvas)
    with reused_memory():
        for y, (direction, w) in enumerate(rows):
            for x, strength in enumerate(STRENGTHS):
                image = to_pil(generator.synthesis(direction.apply(w[None], strength), resolution=size)[0])
                canvas.paste(image, (size * x, size * y))
                draw.text(
                    (size * x + 4, size * y + 4),
                    f"{direction.name} {strength:+g}",
                    fill="white",
                    stroke_width=2,
                    stroke_fill="black",
                )
    canvas.save(picture)


if __name__ == "__main__":
    app()
