"""Tuned weights from the generator's own and what tuning changed."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from pti_hub.generators import Generator


def add_deltas(generator: Generator, deltas: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """θ* = θ + Δ by parameter name, on the generator's device.

    Args:
        generator: The base, whose weights θ stay as they are.
        deltas: Δ by parameter name.
    """
    original = dict(generator.named_parameters())
    return {name: original[name].detach() + d.to(original[name].device) for name, d in deltas.items()}
