"""What an edit changes on new latents: its own attribute, the others, and the identity."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from attribute_names import ATTRIBUTES
from label_samples import label
from reader import Reader, with_labels
from torch import Tensor
from tqdm import tqdm

from pti_hub.edits import Direction
from pti_hub.images import to_pil
from pti_hub.optim import reused_memory

STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0)
# Decreases of a label below this many standard deviations do not count: a closed mouth can't close any further.
NEARLY = 0.1


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
