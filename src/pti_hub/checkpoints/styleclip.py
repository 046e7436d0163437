"""Latent mappers from StyleCLIP's checkpoints."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from pti_hub.checkpoints.weights import filled
from pti_hub.edits import LatentMapper
from pti_hub.errors import WeightsError

_PARTS = {
    "mapper.course_mapping": "coarse",
    "mapper.medium_mapping": "medium",
    "mapper.fine_mapping": "fine",
    "mapper.mapping": "all",
}


def load_mapper(content: Any) -> LatentMapper | None:
    """Build StyleCLIP's mapper from the result of `read_torch_file`; `None` if there is no mapper.

    Raises:
        WeightsError: The mapper edits style space, or a tensor is missing or has another shape.
    """
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not any(str(name).startswith("mapper.") for name in state):
        return None
    levels = [level for part, level in _PARTS.items() if f"{part}.mapping.1.weight" in state]
    if not levels:
        raise WeightsError("the file holds a StyleCLIP mapper of style space; only mappers of W+ are supported")
    return filled(
        functools.partial(LatentMapper, levels),
        {
            f"levels.{level}.{i}.{kind}": state.get(f"{part}.mapping.{i + 1}.{kind}")
            for part, level in _PARTS.items()
            for i in range(4)
            for kind in ("weight", "bias")
        },
    )
