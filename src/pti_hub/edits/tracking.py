"""Points of a picture followed through changes of its latent, by the generator's own features (Pan et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_OFFSETS = torch.tensor([[x, y] for y in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)])
"""The 3x3 neighbourhood of a point: what is compared, in pixels of each feature map."""

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
        self._offsets = _OFFSETS.to(points)
        self._templates = self.patches(maps, points)  # [N, D]

    def patches(self, maps: Sequence[Tensor], points: Tensor) -> Tensor:
        """What the neighbourhood of each point looks like: `[N, D]` for points `[N, 2]`.

        The maps may be fewer than at first: the smallest ones, in the same order.
        """
        parts = []
        for features, gain in zip(maps, self.gains, strict=False):
            size = features.shape[-1]
            centres = (points + 0.5) * (size / self.size) - 0.5
            places = (centres[:, None] + self._offsets).reshape(1, 1, -1, 2)
            grid = (places + 0.5) * (2 / size) - 1
            found = F.grid_sample(features.float(), grid, align_corners=False, padding_mode="border")  # [1, C, 1, 9N]
            parts.append(gain * found[0, :, 0].T.reshape(len(points), -1))
        return torch.cat(parts, 1)

    def motion(self, maps: Sequence[Tensor], points: Tensor) -> Tensor:
        """Where the points go, to first order, as a differentiable function of the maps: `[N, 2]`, zero as it stands.

        What a point looks like stays the same while it moves, hence u = -(∇F ∇Fᵀ)⁻¹ ∇F dF (Lucas and Kanade 1981).
        """
        with torch.no_grad():
            across, down = torch.eye(2, device=points.device)
            slopes = torch.stack(
                [self.patches(maps, points + axis) - self.patches(maps, points - axis) for axis in (across, down)], 1
            )  # [N, 2, D]
            slopes = slopes / 2
            structure = slopes @ slopes.mT  # [N, 2, 2]
            floor = _FLAT * structure.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
            structure = structure + floor[:, None, None] * torch.eye(2, device=points.device)
            follow = -torch.linalg.solve(structure, slopes)
        patches = self.patches(maps, points)
        return (follow * (patches - patches.detach())[:, None]).sum(-1)

    @torch.no_grad()
    def find(self, maps: Sequence[Tensor], guesses: Tensor, radius: int) -> Tensor:
        """Where the points are now.

        Args:
            maps: Features of the changed picture.
            guesses: `[N, 2]`, where they may be.
            radius: How far around a guess they are sought, in pixels of the largest map.

        Returns:
            `[N, 2]`, to fractions of a pixel.
        """
        steps = torch.arange(-radius, radius + 1, device=guesses.device).to(guesses)
        down, across = torch.meshgrid(steps, steps, indexing="ij")
        window = torch.stack([across.flatten(), down.flatten()], 1)
        found = []
        for guess, template in zip(guesses, self._templates, strict=True):
            candidates = guess.round() + window
            errors = (self.patches(maps, candidates) - template).square().sum(1).reshape(len(steps), -1)
            best = int(errors.argmin())
            row, column = divmod(best, len(steps))
            found.append(
                candidates[best] + torch.stack([_vertex(errors[row], column), _vertex(errors[:, column], row)])
            )
        return torch.stack(found).clamp(-0.5, self.size - 0.5)


def _vertex(errors: Tensor, i: int) -> Tensor:
    """Place of the minimum near i, relative to i, by the parabola through it and its neighbours."""
    if not 0 < i < len(errors) - 1:
        return errors.new_zeros(())
    before, here, after = errors[i - 1 : i + 2]
    return (before - after) / (2 * (before - 2 * here + after).clamp_min(1e-9))
