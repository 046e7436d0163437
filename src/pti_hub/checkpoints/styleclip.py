"""Latent mappers from StyleCLIP's checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pti_hub.checkpoints.weights import fill
from pti_hub.edits import LatentMapper
from pti_hub.errors import WeightsError

_PARTS = {
    "mapper.course_mapping": "coarse",
    "mapper.medium_mapping": "medium",
    "mapper.fine_mapping": "fine",
    "mapper.mapping": "all",
}


def load_mapper(content: Any) -> LatentMapper | None:
    """StyleCLIP's mapper in what `read_torch_file` returned; `None` where there is none.

    Raises:
        WeightsError: The mapper is one of style space, or a tensor is missing or of another shape.
    """
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not any(str(name).startswith("mapper.") for name in state):
        return None
    levels = [level for part, level in _PARTS.items() if f"{part}.mapping.1.weight" in state]
    if not levels:
        raise WeightsError("a mapper of StyleCLIP in style space; only those in W+ are known")
    mapper = LatentMapper(levels)
    fill(
        mapper,
        {
            f"levels.{level}.{i}.{kind}": state.get(f"{part}.mapping.{i + 1}.{kind}")
            for part, level in _PARTS.items()
            for i in range(4)
            for kind in ("weight", "bias")
        },
    )
    return mapper
