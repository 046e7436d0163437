"""Find what lies before a face: a hand, a microphone, a cup.

A pivot's picture G(w_p; θ) shows the face without such things, since the generator has hardly seen them. They enter the
reconstruction only through tuning. So an occluder is where the reconstruction and the pivot's picture differ inside the
face, in the deep features of a VGG network: shallow features and colours disagree everywhere, deep ones where a part of
a face is missing. Glasses and beards, which generators know, do not count.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from pti_hub.faces.alignment import ellipse
from pti_hub.images import to_tensor
from pti_hub.perceptual import LPIPS
from pti_hub.perceptual.lpips import TargetFeatures

# Height and width, in pixels, at which pictures are compared, and of the result.
_SMALL = 256
# Layers of VGG whose distances are added: conv4_3 and conv5_3 after ReLU.
_LAYERS = (3, 4)
# Centre and half axes of the ellipse of the face, as shares of the aligned square's side.
_CENTRE, _AXES = (0.5, 0.58), (0.22, 0.32)
# A place is surely occluded if its distance exceeds by `_SURE` what a tenth of the face stays below (`_BEST`). In free
# faces at most 5 % of the ellipse did, behind hands and other things at least 18 %; `_LEAST` lies between.
_BEST, _SURE, _LEAST = 0.1, 0.14, 0.1
# Distance above which a place belongs to an occluder that it adjoins.
_MAYBE = 0.12
# Standard deviations, as shares of the side, by which a pivot's picture is blurred to be as soft as the photograph.
_BLURS = (0.006, 0.012, 0.024)
# How far an occluder extends from what is surely occluded, up to which width gaps in it are closed, and how far an edit
# fades out beside it, in pixels.
_EXTENT, _GAP, _FADE = 45, 15, 10


@torch.no_grad()
def find_occluders(
    perceptual: LPIPS, reconstruction: Image.Image, projection: Image.Image
) -> NDArray[np.float32] | None:
    """Find what lies before an aligned face.

    Args:
        perceptual: LPIPS over VGG, for which the thresholds were chosen; with another network the result is `None`.
        reconstruction: G(w_p; θ*), or the aligned photograph; mode RGB, square.
        projection: G(w_p; θ), mode RGB, square.

    Returns:
        Mask [256, 256]: 1 on the occluder, falling to 0 beside it; `None` if nothing lies before the face.
    """
    if perceptual.net != "vgg":
        return None
    target = perceptual.target_features(_small(perceptual, reconstruction))
    score = _disagreement(target, perceptual.target_features(_small(perceptual, projection)))
    if not _surely(score).any():
        return None
    # A blurred photograph disagrees with a sharp pivot's picture everywhere, unless that is blurred as much.
    projections = [projection.filter(ImageFilter.GaussianBlur(sigma * projection.width)) for sigma in _BLURS]
    blurred = [_disagreement(target, perceptual.target_features(_small(perceptual, p))) for p in projections]
    scores = [score, *blurred]
    softness = int(np.argmin([np.median(score[_face()]) for score in scores]))
    score, sure = scores[softness], _surely(scores[softness])
    if softness == len(_BLURS) or not sure.any():
        return None  # nothing but blur, or too soft to tell
    near = cv2.distanceTransform((~sure).astype(np.uint8), cv2.DIST_L2, 5) < _EXTENT
    _, parts = cv2.connectedComponents(((score > _MAYBE) & near).astype(np.uint8))
    occluder = np.isin(parts, np.unique(parts[sure])).astype(np.uint8)
    closed = cv2.morphologyEx(occluder, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_GAP, _GAP)))
    distance = cv2.distanceTransform((closed == 0).astype(np.uint8), cv2.DIST_L2, 5)
    return np.clip(1 - distance / _FADE, 0, 1).astype(np.float32)


def _surely(score: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a face is surely occluded [S, S]; nowhere if that is too small a part of the face."""
    face = _face()
    sure = (score - np.quantile(score[face], _BEST) > _SURE) & face
    return sure if sure.sum() >= _LEAST * face.sum() else np.zeros_like(sure)


def _small(perceptual: LPIPS, picture: Image.Image) -> Tensor:
    """A picture `[1, 3, S, S]` on the network's device."""
    return to_tensor(picture, _SMALL).to(perceptual.mean.device)


def _disagreement(a: TargetFeatures, b: TargetFeatures) -> NDArray[np.float32]:
    """How far two pictures' deep features are apart at each place [S, S]."""
    score = np.zeros((_SMALL, _SMALL), np.float32)
    for i in _LAYERS:
        distance = (a.layers[i] - b.layers[i]).square().sum(1)[0].cpu().numpy()  # [H, W]
        score += cv2.resize(distance, (_SMALL, _SMALL), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(score, (0, 0), 5).astype(np.float32)


def _face() -> NDArray[np.bool_]:
    """The ellipse of the face [S, S]."""
    return ellipse(_SMALL, _CENTRE, _AXES)
