"""Learn the edit directions of the default generator from the generator's own pictures.

Random latents are rendered and the faces labelled (label_samples.py, learn_attributes.py). Ridge regression gives the
gradient of every label in W. A direction combines these gradients such that it moves one label and leaves others alone
(conditional manipulation: Shen et al. 2020, InterfaceGAN). Measurements then correct the errors of the linear model:
small steps are rendered, and the directions recombined until their measured effects are independent.

    pip install 'pti-hub[faces]'
    npm pack @vladmandic/face-api@1.7.15
    python examples/shipped_edits/label_samples.py runs/faces --face-api vladmandic-face-api-1.7.15.tgz
    python examples/shipped_edits/learn_attributes.py runs/faces src/pti_hub/faces/data
    python examples/shipped_edits/learn_directions.py fit runs/faces
    python examples/shipped_edits/learn_directions.py verify runs/faces OUTPUT --face-api vladmandic-face-api-1.7.15.tgz
    python examples/shipped_edits/learn_directions.py sheet OUTPUT sheet.png

OUTPUT is the folder of the new catalogue; the package's catalogue is in `src/pti_hub/edits/data/mobilestylegan-ffhq`.
Directions that go the right way too rarely come into another folder, `examples/weaker_edits`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import torch
import typer
from attribute_names import ATTRIBUTES
from label_samples import FaceApi, Run, Workers, pool, read_samples, standardised
from measured_edits import STRENGTHS, figures, has_room, measured
from PIL import Image, ImageDraw
from reader import Reader, labels_of, latents
from recipes import CORRECTED, HELPERS, RECIPES
from recombined_steps import calibrated, chosen, independent, steps_of

from pti_hub.checkpoints.openvino import load_mobile_stylegan
from pti_hub.edits import Direction, Step, load_edits, save_edits
from pti_hub.edits.learning import ridge
from pti_hub.faces import MEASURES
from pti_hub.faces.attributes import shipped_attributes
from pti_hub.images import to_pil
from pti_hub.optim import reused_memory

PROBES = 20
CLIP = 1.5  # standard deviations
LEAST_HITS = 0.95
WEAKER = Path(__file__).parents[1] / "weaker_edits"
app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)


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
        words = f"ridge regression on {len(w)} labelled samples{correction}; examples/shipped_edits/learn_directions.py"
        directions[name] = Direction(name, step, words, {}, Step(MEASURES[recipe.measure or name], change))
    save_edits(run / "directions", directions)


@app.command()
def verify(
    run: Run,
    output: Annotated[Path, typer.Argument(help="Folder for the directions and their measurements.")],
    face_api: FaceApi,
    count: Annotated[int, typer.Option("--latents", help="Number of new latents to edit.", min=1)] = 20,
    workers: Workers = 2,
    weaker: Annotated[Path, typer.Option(help="Folder for those that go the right way too rarely.")] = WEAKER,
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
        metrics["command"] = f"python examples/shipped_edits/learn_directions.py verify RUN OUTPUT --latents {count}"
        print(direction.name, metrics)
        result[direction.name] = dataclasses.replace(direction, metrics=metrics)
    good = {name: direction for name, direction in result.items() if direction.metrics["hit_rate"] >= LEAST_HITS}
    save_edits(output, good)
    save_edits(weaker, {name: direction for name, direction in result.items() if name not in good})


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
