"""Learn the edit directions of the default generator from pictures it makes itself.

Random latents are rendered and their faces labelled: smile, age, gender, head pose, how open eyes and mouth are. Ridge
regression gives the gradient of every label in W; directions are combined so that each moves its own label and no
other (conditional manipulation: Shen et al. 2020, InterfaceGAN). What a linear model gets wrong is then put right by
measurement: small steps are rendered, and the directions combined anew until the measured responses are independent.

    pip install 'pti-hub[faces]'
    npm pack @vladmandic/face-api@1.7.15
    python examples/learn_directions.py sample runs/directions --face-api vladmandic-face-api-1.7.15.tgz
    python examples/learn_directions.py fit runs/directions --face-api vladmandic-face-api-1.7.15.tgz
    python examples/learn_directions.py verify runs/directions OUTPUT --face-api vladmandic-face-api-1.7.15.tgz
    python examples/learn_directions.py sheet OUTPUT sheet.png

OUTPUT is the folder of the new catalogue; the package's own is `src/pti_hub/edits/data/mobilestylegan-ffhq`.
"""

from __future__ import annotations

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
from pti_hub.optim import reused_memory
from pti_hub.storage import replaced_file

GENDER = LABELS.index("gender")
CONTROLLED = [i for i, label in enumerate(LABELS) if label != "roll"]
# Strength 1.0 of each edit, in standard deviations of its label among the samples; of pose that is 16 degrees.
STEPS = {"smile": 1.0, "age": 1.0, "pose": 1.0, "gender": 0.9, "eyes_open": 1.5, "mouth_open": 1.2}
# Up to 64² and the first layer of 128²: the finer ones paint colours and background, which no edit is about.
LAST_LAYER = 9
# Glasses, which come with age among FFHQ's faces, are put on by the coarsest layers; wrinkles are not.
FIRST_LAYER = {"age": 3}
STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0)
# A fall of less is none, in standard deviations: a closed mouth, a beaming face move no further.
NEARLY = 0.1


CHUNK = 50  # pictures a task: what an interruption loses

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

Run = Annotated[Path, typer.Argument(help="Folder of the run; what lies there is not done again.")]
FaceApi = Annotated[Path, typer.Option(help="Tarball of @vladmandic/face-api 1.7.15.")]
Workers = Annotated[int, typer.Option(help="Processes, one thread each.", min=1)]


_labeller: Labeller


def _start(face_api: Path) -> None:
    global _labeller
    _labeller = Labeller(face_api)


def _sample_chunk(path: Path) -> Path:
    """Draw, render and label one chunk; the seed is the chunk's number."""
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
    samples: Annotated[int, typer.Option(help="Pictures to render and label.", min=CHUNK)] = 2000,
    workers: Workers = 2,
) -> None:
    """Draw latents, render them, label the faces."""
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
    """Labels [..., 8], gender by `with_readout`, and embeddings [..., 128] of latents [..., num_ws, w_dim]."""
    chunks = ws.flatten(0, -3).split(10)
    seen = list(tqdm(workers.imap(_label_chunk, chunks), total=len(chunks)))
    labels, embeddings = (np.concatenate(part).astype(np.float64) for part in zip(*seen, strict=True))
    shape = ws.shape[:-2]
    return with_readout(labels, embeddings, readout).reshape(*shape, -1), embeddings.reshape(*shape, -1)


def latents(count: int, seed: int) -> Tensor:
    """ws [count, num_ws, w_dim] that sampling does not draw, truncated as for a demonstration."""
    generator = load_mobile_stylegan()
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    return generator.mapping(z, truncation=0.7)[:, None].expand(-1, generator.num_ws, -1)


class Samples(NamedTuple):
    """w [N, w_dim], labels [N, 8] in standard deviations `std` [8] around their mean; outliers are clipped.

    `readout` [129] is gender as embeddings tell it.
    """

    w: np.ndarray
    labels: np.ndarray
    std: np.ndarray
    readout: np.ndarray


def load_samples(run: Path) -> Samples:
    """Reads what `sample` wrote; pictures without exactly one face are left out."""
    chunks = [np.load(path) for path in sorted((run / "samples").glob("*.npz"))]
    if not chunks:
        raise typer.BadParameter(f"{run} holds no samples; run the command sample first")
    w, labels, embeddings = (
        np.concatenate([chunk[key] for chunk in chunks]).astype(np.float64) for key in ("w", "labels", "embeddings")
    )
    seen = np.isfinite(labels).all(axis=1)
    w, labels, embeddings = w[seen], labels[seen], embeddings[seen]
    readout = fit_readout(embeddings, labels[:, GENDER])
    labels = with_readout(labels, embeddings, readout)
    labels = labels.clip(*np.percentile(labels, [1, 99], axis=0))
    std = labels.std(axis=0)
    return Samples(w - w.mean(axis=0), (labels - labels.mean(axis=0)) / std, std, readout)


def fit_readout(embeddings: np.ndarray, gender: np.ndarray) -> np.ndarray:
    """The linear function of embeddings [N, 128] that tells gender [N] best: weights, then the constant, [129]."""
    mean = embeddings.mean(axis=0)
    b, _ = ridge(embeddings - mean, (gender - gender.mean())[:, None])
    return np.append(b[:, 0], gender.mean() - mean @ b[:, 0])


def with_readout(labels: np.ndarray, embeddings: np.ndarray, readout: np.ndarray) -> np.ndarray:
    """Labels whose gender is the mean of the network's logit and the readout.

    The network was taught two classes: among faces of one class its logit is mostly noise, which the embedding,
    taught to tell people apart, does not share.
    """
    labels = labels.copy()
    labels[:, GENDER] = (labels[:, GENDER] + embeddings @ readout[:-1] + readout[-1]) / 2
    return labels


def ridge(w: np.ndarray, y: np.ndarray, folds: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression y = w B, its penalty chosen for each label by cross-validation.

    Args:
        w: [N, w_dim], centred.
        y: [N, K], centred.
        folds: Number of parts.

    Returns:
        B [w_dim, K], and the share of each label's variance explained in the part left out [K].
    """
    fold = np.arange(len(w)) % folds
    penalties = np.geomspace(0.03, 10, 11) * np.square(w).sum() / w.shape[1]
    errors = np.zeros((len(penalties), y.shape[1]))
    for k in range(folds):
        train, test = fold != k, fold == k
        for penalty, b in zip(penalties, _ridge_path(w[train], y[train], penalties), strict=True):
            errors[penalties == penalty] += np.square(y[test] - w[test] @ b).sum(axis=0)
    best = errors.argmin(axis=0)
    path = np.stack(_ridge_path(w, y, penalties))
    explained = 1 - errors.min(axis=0) / np.square(y).sum(axis=0)
    return path[best, :, np.arange(y.shape[1])].T, explained


def _ridge_path(w: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> list[np.ndarray]:
    values, vectors = np.linalg.eigh(w.T @ w)
    projected = vectors.T @ (w.T @ y)
    return [vectors @ (projected / (values + penalty)[:, None]) for penalty in penalties]


def independent(b: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Steps that move one prediction w B by 1 and the others by 0: D = M B (BᵀMB)⁻¹.

    M is the root of the covariance Σ of W. With M = 1 the steps are the shortest, but lie where W is thin and the
    regression knows little; with M = Σ they are the most natural, but change more about the face than the label.

    Args:
        b: B [w_dim, K].
        w: [N, w_dim], centred.

    Returns:
        Steps [K, w_dim].
    """
    values, vectors = np.linalg.eigh(w.T @ w / len(w))
    mb = vectors @ (np.sqrt(values.clip(0))[:, None] * (vectors.T @ b))
    steps: np.ndarray = mb @ np.linalg.inv(b.T @ mb)
    return steps.T


@app.command()
def fit(
    run: Run,
    face_api: FaceApi,
    probes: Annotated[int, typer.Option(help="Latents on which responses are measured.", min=2)] = 24,
    rounds: Annotated[int, typer.Option(help="Times the directions are combined anew.", min=0)] = 1,
    workers: Workers = 2,
) -> None:
    """Fit directions to the samples, make them independent, give them their step."""
    samples = load_samples(run)
    names = [LABELS[i] for i in CONTROLLED]
    b, explained = ridge(samples.w, samples.labels[:, CONTROLLED])
    print(f"{len(samples.w)} samples; variance explained:", dict(zip(names, explained.round(2).tolist(), strict=True)))
    base = latents(probes, seed=1_000_000)
    d = torch.from_numpy(independent(b, samples.w)).float()[:, None].repeat(1, base.shape[1], 1)
    d[:, LAST_LAYER + 1 :] = 0
    for k, name in enumerate(names):
        d[k, : FIRST_LAYER.get(name, 0)] = 0
    with pool(face_api, workers) as workers_:
        for _ in range(rounds):
            ws = torch.stack([torch.stack([base - step, base + step]) for step in d])
            labels = (measure(workers_, ws, samples.readout)[0] / samples.std)[..., CONTROLLED]
            # [direction, label]; the median, since one face in many may go wrong.
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
    output: Annotated[Path, typer.Argument(help="Folder to write the directions and their figures to.")],
    face_api: FaceApi,
    count: Annotated[int, typer.Option("--latents", help="Latents to edit, unseen so far.", min=1)] = 20,
    workers: Workers = 2,
) -> None:
    """Measure the directions on unseen latents, and write them with what was measured."""
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
        measured[direction.name] = Direction(direction.name, direction.vector, direction.provenance, metrics)
    save_edits(output, measured)


def figures(name: str, labels: np.ndarray, embeddings: np.ndarray) -> dict[str, Any]:
    """How well an edit does what it says.

    Args:
        name: Its name.
        labels: [strengths, latents, 8], in standard deviations.
        embeddings: [strengths, latents, 128].

    Returns:
        `hit_rate`: how often the label moves the right way at -1 and 1; `hit_rates`: the same, at -1 and at 1 apart.
        `monotone_rate`: share of latents whose label never falls from -2 to 2 by steps of 1; `nearly_monotone_rate`:
        never by more than `NEARLY`. `shift`: mean way of the label at -1 and 1, in standard deviations;
        `other_shifts`: mean absolute way of the others; `identity_distance`: median distance to the unedited face at
        -1 and 1, `identity_below_half`: share below 0.5. `faces_lost`: share of all pictures without exactly one face.
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
    picture: Annotated[Path, typer.Argument(help="File to write.")],
    count: Annotated[int, typer.Option("--latents", help="People, one below the other.", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="Seed of the latents.")] = 3_000_000,
) -> None:
    """Draw a contact sheet: a row an edit, strengths from -2 to 2."""
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
