"""How far a tuned picture is from its photograph (Eq. 2), and where that matters."""

from __future__ import annotations

from types import EllipsisType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pti_hub.optim import mixed_precision
from pti_hub.perceptual import LPIPS

# Height and width at which the whole picture is compared, if it is larger; finer detail counts in the face alone.
_WHOLE = 512
# Importance, as a share of the largest, above which a place belongs to the face, and by how many pixels the rectangle
# around these places is extended to a multiple.
_FACE, _MULTIPLE = 0.9, 32


class Losses(NamedTuple):
    """Distances of a picture from its photograph, scalars.

    Attributes:
        lpips: L_LPIPS, which is compared with the threshold.
        around: LPIPS of the whole picture at `_WHOLE` pixels, where `lpips` is the face's; else 0.
        l2: L_L2.
    """

    lpips: Tensor
    around: Tensor
    l2: Tensor


class ReconstructionLoss:
    """L_LPIPS and L_L2 between G(w_p; θ*) and one photograph; what depends on the photograph alone is computed once.

    Without importance these are the terms of Eq. 2. With importance the face counts most: the first LPIPS compares the
    rectangle around the face at full resolution, and a second LPIPS compares the whole picture at `_WHOLE` pixels.

    Args:
        perceptual: LPIPS network.
        target: x `[1, 3, R, R]`.
        importance: How much each place counts `[1, 1, R, R]`, up to a factor; `None` if all count alike.
    """

    def __init__(self, perceptual: LPIPS, target: Tensor, importance: Tensor | None = None) -> None:
        self._perceptual, self._target = perceptual, target
        self._importance = None if importance is None else importance / importance.mean()
        self._shrinking = max(1, target.shape[-1] // _WHOLE)
        with torch.no_grad(), mixed_precision(target.device):
            if importance is None:
                self._features = perceptual.target_features(target)
            else:
                self._face = _rectangle(importance)
                self._features = perceptual.target_features(target[self._face], importance[self._face])
                self._whole_features = perceptual.target_features(self._shrink(target))

    def __call__(self, picture: Tensor) -> Losses:
        """The distances of a picture `[1, 3, R, R]`."""
        difference = (picture - self._target).square()
        if self._importance is None:
            with mixed_precision(picture.device):
                lpips = self._perceptual(picture, self._features).mean()
            return Losses(lpips, torch.zeros_like(lpips), difference.mean())
        with mixed_precision(picture.device):
            lpips = self._perceptual(picture[self._face], self._features).mean()
            around = self._perceptual(self._shrink(picture), self._whole_features).mean()
        return Losses(lpips, around, (difference * self._importance).mean())

    def _shrink(self, picture: Tensor) -> Tensor:
        return F.avg_pool2d(picture, self._shrinking)


@torch.no_grad()
def face_distance(perceptual: LPIPS, picture: Tensor, target: Tensor, importance: Tensor) -> Tensor:
    """LPIPS of the face, where each place counts by its importance, as `ReconstructionLoss` has it; a scalar.

    Args:
        perceptual: LPIPS network.
        picture: G(w_p; θ*) `[1, 3, R, R]`.
        target: x `[1, 3, R, R]`.
        importance: `[1, 1, R, R]`.
    """
    face = _rectangle(importance)
    return perceptual(picture[face], perceptual.target_features(target[face], importance[face])).mean()


def _rectangle(importance: Tensor) -> tuple[EllipsisType, slice, slice]:
    """Rows and columns of the rectangle around the face, of whole multiples so that layers' strides fit."""
    size = importance.shape[-1]
    face = importance[0, 0] >= _FACE * importance.max()
    edges = []
    for axis in (1, 0):
        places = face.any(axis).nonzero()
        low, high = int(places[0]), int(places[-1]) + 1
        edges.append(slice(low // _MULTIPLE * _MULTIPLE, min(-(-high // _MULTIPLE) * _MULTIPLE, size)))
    return ..., edges[0], edges[1]
