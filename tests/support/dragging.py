"""Tiny generators whose points can be dragged."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pti_hub.edits import Drag, DragConfig, GANSpace, drag, ganspace
from pti_hub.edits.dragging import Point
from pti_hub.edits.tracking import PointTracker
from pti_hub.generators import Generator, broadcast_ws
from support.networks import tame_stylegan2, tame_stylegan3

R = 64
"""Height and width of every picture here, whose features are tracked at 16² and 32²."""

Moves = list[tuple[Point, Point]]


class Case(NamedTuple):
    """A generator, its W, a latent, and where a change of the latent takes some points of its picture."""

    generator: Generator
    space: GANSpace
    w: Tensor
    moves: Moves

    def drag(self, moves: Moves | None = None, **kwargs: Any) -> Drag:
        arguments: dict[str, Any] = {"weights": {}, "ws": self.w, "space": self.space, "config": deep()} | kwargs
        return drag("dragged", self.generator, moves=self.moves if moves is None else moves, **arguments)

    def maps(self, ws: Tensor) -> list[Tensor]:
        return self.generator.features(ws, [16, 32])


def followed(case: Case, offset: Tensor, handle: Point) -> Point:
    """Where a point is after a change of the latent, which comes a little at a time."""
    start = broadcast_ws(case.generator, case.w)
    place = (torch.tensor([handle]) - 0.5) / 2
    tracker = PointTracker(case.maps(start), place)
    for i in range(1, 9):
        place = tracker.find(case.maps(start + offset * i / 8), place, 2)
    ((x, y),) = (2 * place + 0.5).tolist()
    return x, y


def reachable(generator: Generator, seed: int) -> Case:
    """A case in which two points can come where they are to come, and far."""
    random = torch.Generator().manual_seed(seed)
    space = ganspace(generator, 2000)
    w = generator.mapping(torch.randn(1, 16, generator=random), truncation=0.7)
    offset = 0.25 * (space.components.T * space.deviations) @ torch.randn(16, generator=random)
    case = Case(generator, space, w, [])
    handles = [(26.5, 38.5), (38.5, 26.5)]
    return case._replace(moves=[(handle, followed(case, offset, handle)) for handle in handles])


@functools.cache
def stylegan2_case(seed: int = 0) -> Case:
    return reachable(tame_stylegan2(), seed)


@functools.cache
def stylegan3_case() -> Case:
    return reachable(tame_stylegan3(), 0)


def deep(**settings: Any) -> DragConfig:
    """Hyper-parameters for networks so shallow that a third of the layers shapes next to nothing, and so small."""
    return DragConfig(**{"shaping": 0.85, "naturalness": 10.0, "longest": 3.0, "search_radius": 10.0} | settings)


def lengths(moves: Moves) -> list[float]:
    """How far points are to go, in pixels of a picture at 256²."""
    return [256 / R * math.dist(handle, target) for handle, target in moves]
