"""Latent directions as others publish them: one NumPy or PyTorch array per file."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pti_hub.edits import Direction
from pti_hub.errors import WeightsError

_STYLEGAN2_LAYERS = 18  # at 1024²


def load_direction(path: str | Path, num_ws: int | None = 16, w_dim: int = 512) -> Direction:
    """Read a direction published for StyleGAN2-FFHQ. No code in the file is run.

    Args:
        path: A `.npy`, or a `.pt` that holds a bare tensor: `[512]`, `[1, 512]`, `[L, 512]` or `[1, L, 512]`, where
            the number of layers L is 18 or `num_ws`. Of 18 layers the first `num_ws` are used, since all generators
            number layers alike. If all layers are equal, the result is a direction in W.
        num_ws: Number of layers of the generator; `None` keeps the file's number of layers.
        w_dim: Width of the generator's w, where it is not 512.

    Returns:
        The direction in float32, named like the file; strength 1 is the publisher's step.

    Raises:
        WeightsError: The file is missing or damaged, holds code or something other than a direction, or all its values
            are zero.
    """
    path = Path(path)
    vector = _read(path)
    shape = list(vector.shape)
    while vector.ndim > 1 and len(vector) == 1:
        vector = vector[0]
    layers = len(vector) if vector.ndim == 2 else num_ws
    needed = layers if num_ws is None else num_ws
    if vector.ndim not in (1, 2) or vector.shape[-1] != w_dim or layers not in (needed, _STYLEGAN2_LAYERS):
        lengths = "" if num_ws is None else f" with L {num_ws} or {_STYLEGAN2_LAYERS}"
        raise WeightsError(
            f"{path} holds an array of shape {shape}; expected [{w_dim}], [1, {w_dim}], [L, {w_dim}] or "
            f"[1, L, {w_dim}]{lengths}"
        )
    if layers is not None and needed is not None and layers < needed:
        raise WeightsError(f"{path} has {layers} layers; the generator needs num_ws={num_ws}")
    vector = vector.detach().float()
    if vector.ndim == 2:
        vector = vector[:needed]
        if (vector == vector[0]).all():
            vector = vector[0]
    if not torch.isfinite(vector).all() or not vector.any():
        raise WeightsError(f"{path} holds no direction: its values are all zero, or not finite; fetch it again")
    return Direction(path.stem, vector.clone(), f"published file {path.name}")


def _read(path: Path) -> Tensor:
    """Read the only array of a file."""
    try:
        if path.suffix.lower() == ".npy":
            # Memory-mapped, so that a header that overstates the size meets the end of the file, not of the memory.
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            content = torch.from_numpy(np.array(array, dtype=np.float32))
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content = torch.load(path, map_location="cpu", weights_only=True)
    # On a damaged file either reader can raise nearly anything.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"{path} can't be read safely as one array of numbers ({reason}); expected a .npy or a .pt of a tensor"
        ) from error
    if not isinstance(content, Tensor) or not content.is_floating_point():
        raise WeightsError(f"{path} holds {type(content).__name__}, expected one tensor of floating-point numbers")
    return content
