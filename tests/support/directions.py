"""Directions in small latent spaces."""

from __future__ import annotations

import torch
from torch import Tensor

from pti_hub.edits import Direction


def vector(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers of a seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


CATALOGUE = {name: Direction(name, vector(8, seed=i)) for i, name in enumerate(["smile", "age", "pose"])}
"""Three directions of 8 dimensions, by name."""

SMILE = Direction("smile", torch.arange(16.0))
"""One of 16 dimensions, as many as `generator` has."""
