"""Principal components as GANSpace publishes them, `ffhq_pca.pt` (Härkönen et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pti_hub.edits import Direction
from pti_hub.errors import WeightsError


def load_components(content: Any) -> list[Direction] | None:
    """GANSpace's components in what `read_torch_file` returned, a standard deviation long; `None` where there are none.

    Raises:
        WeightsError: The components have another shape, or not as many deviations.
    """
    if not isinstance(content, Mapping) or not {"comp", "std"} <= content.keys():
        return None
    comp, std = (torch.as_tensor(content[key]).float() for key in ("comp", "std"))
    if comp.ndim < 2:
        raise WeightsError(f"components of shape {list(comp.shape)}; expected [N, 512]")
    comp, std = comp.reshape(-1, comp.shape[-1]), std.flatten()
    if len(comp) != len(std):
        raise WeightsError(f"{len(comp)} components with {len(std)} deviations; the file is not whole")
    return [
        Direction(f"component{i}", vector * length, "published principal component")
        for i, (vector, length) in enumerate(zip(comp, std, strict=True))
    ]
