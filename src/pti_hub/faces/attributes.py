"""Attributes of a face, such as its age or a beard, read off features of AlexNet, which LPIPS brings along."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from pti_hub.errors import InputError
from pti_hub.perceptual import LPIPS
from pti_hub.storage import read_json, read_tensors

RESOLUTION = 256
"""Height and width in pixels at which pictures are read."""

_LAYER = 2  # of the five activations that LPIPS compares; later ones know objects better, and places worse
_PLACES = 8  # features are averaged in a grid of this many rows and columns
_FLOOR = 0.01
_DATA = Path(str(files("pti_hub.faces"))) / "data"


def attributes(perceptual: LPIPS, pictures: Tensor, names: Sequence[str]) -> Tensor:
    """Attributes of faces in FFHQ's alignment, as linear functions of AlexNet's features at each place.

    Args:
        perceptual: LPIPS with AlexNet.
        pictures: `[B, 3, R, R]` in [-1, 1], of any size.
        names: Which of `shipped_attributes`.

    Returns:
        `[B, K]` in fp32; differentiable with respect to the pictures.

    Raises:
        InputError: The LPIPS network is another one, or there is no such attribute.
    """
    require_alexnet(perceptual)
    known = list(shipped_attributes())
    if missing := set(names) - set(known):
        raise InputError(f"no attribute is named {missing.pop()!r}, there are {', '.join(known)}")
    rows, features = [known.index(name) for name in names], attribute_features(perceptual, pictures)
    weight, bias = (_tensors()[key][rows].to(features) for key in ("weight", "bias"))
    return F.linear(features, weight, bias)


def require_alexnet(perceptual: LPIPS) -> None:
    """Make sure that attributes can be read off a network's features.

    Raises:
        InputError: It is not LPIPS with AlexNet.
    """
    if perceptual.net != "alex":
        raise InputError(f"attributes are read off LPIPS with AlexNet; got LPIPS-{perceptual.net}")


def attribute_features(perceptual: LPIPS, pictures: Tensor) -> Tensor:
    """What attributes are linear in, `[B, F]` in fp32; arguments as in `attributes`."""
    if pictures.shape[2:] != (RESOLUTION, RESOLUTION):
        pictures = F.interpolate(pictures.float(), (RESOLUTION, RESOLUTION), mode="bicubic", antialias=True)
    features = F.adaptive_avg_pool2d(perceptual.activation(pictures, _LAYER).float(), _PLACES)
    # A root keeps few strong features from outweighing the others; what is added keeps its gradient finite.
    return (features + _FLOOR).sqrt().flatten(1)


@functools.cache
def shipped_attributes() -> dict[str, dict[str, Any]]:
    """What is known of each attribute by its name: title, unit, tolerance, and how well it was learned."""
    return read_json(_DATA / "attributes.json")


@functools.cache
def _tensors() -> dict[str, Tensor]:
    return read_tensors(_DATA / "attributes.safetensors")
