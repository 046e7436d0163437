"""Principal components as GANSpace publishes them, in `ffhq_pca.pt` (Härkönen et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pti_hub.edits import Direction
from pti_hub.errors import WeightsError


def load_components(content: Any) -> list[Direction] | None:
    """Find GANSpace's components in the result of `read_torch_file`.

    Args:
        content: Result of `read_torch_file`.

    Returns:
        One direction per component, one standard deviation long; `None` if there are no components.

    Raises:
        WeightsError: The components have another shape, or another number than the standard deviations.
    """
    if not isinstance(content, Mapping) or not {"comp", "std"} <= content.keys():
        return None
    comp, std = (torch.as_tensor(content[key]).float() for key in ("comp", "std"))
    if comp.ndim < 2:
        raise WeightsError(f"components of shape {list(comp.shape)}; expected [N, 512]")
    comp, std = comp.reshape(-1, comp.shape[-1]), std.flatten()
    if len(comp) != len(std):
        raise WeightsError(f"{len(comp)} components with {len(std)} deviations; the file is incomplete, fetch it again")
    return [
        Direction(f"component{i}", vector * length, "published principal component")
        for i, (vector, length) in enumerate(zip(comp, std, strict=True))
    ]
