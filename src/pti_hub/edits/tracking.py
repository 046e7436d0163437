"""Points of a picture followed through changes of its latent, by the generator's own features (Pan et al. 2023)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def _grid(reach: int, spacing: int) -> Tensor:
    steps = torch.arange(-reach, reach + 1) * float(spacing)
    down, across = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([across.flatten(), down.flatten()], 1)


# What is compared, in pixels of each feature map: a point's neighbourhood, and where the largest map has 128², its
# surroundings. On smaller maps these are as large a part of the picture.
NEIGHBOURHOOD, SURROUNDINGS = _grid(1, 1), _grid(3, 2) / 128

_REFINEMENT = 2
"""How far from the place whose surroundings fit best a point is sought, in pixels of the largest feature map."""

_FLAT = 1e-3
"""Share of its own gradients that is added to a point's structure tensor, for places without an edge or a corner."""


class PointTracker:
    """Finds points again in the features of a changed picture.

    Coordinates are those of the largest feature map, whole numbers being centres of its pixels.

    Args:
        maps: Features of the picture at first, `[1, C, S, S]` each, the largest last; what is sought looks as in these.
        points: `[N, 2]`, x and y.
    """

    def __init__(self, maps: Sequence[Tensor], points: Tensor) -> None:
        # Each map counts the same, whatever its number of channels and its scale.
        lengths = [m.float().square().mean().sqrt() * m.shape[1] ** 0.5 for m in maps]
        self.gains = [length.clamp_min(1e-12).reciprocal() for length in lengths]
        self.size = maps[-1].shape[-1]
        self._surroundings = SURROUNDINGS * self.size
        self._at_first = maps, points

    @functools.cached_property
    def _templates(self) -> tuple[Tensor, Tensor]:
        """What the surroundings and the neighbourhood of each point looked like at first, `[N, D]` each."""
        return self.patches(*self._at_first, self._surroundings), self.patches(*self._at_first, NEIGHBOURHOOD)

    def patches(self, maps: Sequence[Tensor], points: Tensor, offsets: Tensor) -> Tensor:
        """What lies at offsets `[K, 2]` from each point, in pixels of each map: `[N, D]` for points `[N, 2]`.

        The maps may be fewer than at first: the smallest ones, in the same order.
        """
        parts = []
        for features, gain in zip(maps, self.gains, strict=False):
            size = features.shape[-1]
            centres = (points + 0.5) * (size / self.size) - 0.5
            places = (centres[:, None] + offsets.to(points)).reshape(1, 1, -1, 2)
            grid = (places + 0.5) * (2 / size) - 1
            found = F.grid_sample(features.float(), grid, align_corners=False, padding_mode="border")  # [1, C, 1, N·K]
            parts.append(gain * found[0, :, 0].T.reshape(len(points), -1))
        return torch.cat(parts, 1)

    def motion(self, maps: Sequence[Tensor], points: Tensor) -> Tensor:
        """Where the points go, to first order, as a differentiable function of the maps: `[N, 2]`, zero as it stands.

        What a point looks like stays the same while it moves, hence u = -(∇F ∇Fᵀ)⁻¹ ∇F dF (Lucas and Kanade 1981).
        """
        near = functools.partial(self.patches, maps, offsets=NEIGHBOURHOOD)
        with torch.no_grad():
            across, down = torch.eye(2, device=points.device)
            slopes = torch.stack([near(points + axis) - near(points - axis) for axis in (across, down)], 1)  # [N, 2, D]
            slopes = slopes / 2
            structure = slopes @ slopes.mT  # [N, 2, 2]
            floor = _FLAT * structure.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
            structure = structure + floor[:, None, None] * torch.eye(2, device=points.device)
            follow = -torch.linalg.solve(structure, slopes)
        patches = near(points)
        return (follow * (patches - patches.detach())[:, None]).sum(-1)

    @torch.no_grad()
    def find(self, maps: Sequence[Tensor], guesses: Tensor, radius: int) -> Tensor:
        """Where the points are now.

        A picture can grow a second tip of the nose where the first one is to be. So the place whose surroundings look
        most as they did comes first, and the point itself is sought near it.

        Args:
            maps: Features of the changed picture.
            guesses: `[N, 2]`, where they may be.
            radius: How far around a guess they are sought, in pixels of the largest map.

        Returns:
            `[N, 2]`, to fractions of a pixel.
        """
        last = min(_REFINEMENT, radius)
        found = []
        for guess, far, near in zip(guesses, *self._templates, strict=True):
            place, _ = self._closest(maps, guess.round(), radius - last, self._surroundings, far)
            place, errors = self._closest(maps, place, last, NEIGHBOURHOOD, near)
            row, column = divmod(int(errors.argmin()), len(errors))
            found.append(place + torch.stack([_vertex(errors[row], column), _vertex(errors[:, column], row)]))
        return torch.stack(found).clamp(-0.5, self.size - 0.5)

    def _closest(
        self, maps: Sequence[Tensor], middle: Tensor, radius: int, offsets: Tensor, template: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The place `[2]` in a window that looks most like a template, and the errors `[rows, columns]` there."""
        candidates = middle + _grid(radius, 1).to(middle)
        errors = (self.patches(maps, candidates, offsets) - template).square().sum(1)
        return candidates[int(errors.argmin())], errors.reshape(2 * radius + 1, -1)


def _vertex(errors: Tensor, i: int) -> Tensor:
    """Place of the minimum near i, relative to i, by the parabola through it and its neighbours."""
    if not 0 < i < len(errors) - 1:
        return errors.new_zeros(())
    before, here, after = errors[i - 1 : i + 2]
    return (before - after) / (2 * (before - 2 * here + after).clamp_min(1e-9))
