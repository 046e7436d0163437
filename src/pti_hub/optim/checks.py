"""What is checked before a loop begins."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from torch import Tensor

from pti_hub.errors import InputError
from pti_hub.generators import Generator


def check_hyper_parameters(config: Any, above_zero: tuple[str, ...], below_one: tuple[str, ...] = ()) -> None:
    """Make sure that every field of a dataclass is a number of the field's type, and none is below zero.

    Args:
        config: The dataclass.
        above_zero: Fields that must be above zero.
        below_one: Fields that must be below 1.

    Raises:
        InputError: A field has another type or is out of range.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.type == "bool":
            if not isinstance(value, bool):
                raise InputError(f"{type(config).__name__}: {field.name}={value!r}; expected True or False")
            continue
        kind = "a whole number" if field.type == "int" else "a number"
        bound = "above zero" if field.name in above_zero else "of zero or more"
        good = isinstance(value, int if field.type == "int" else (int, float)) and not isinstance(value, bool)
        if not (good and math.isfinite(value) and (value > 0 or (value == 0 and field.name not in above_zero))):
            raise InputError(f"{type(config).__name__}: {field.name}={value!r}; expected {kind} {bound}")
        if field.name in below_one and value >= 1:
            raise InputError(f"{type(config).__name__}: {field.name}={value!r}; expected a number below 1")


def check_target(generator: Generator, target: Tensor) -> None:
    """Make sure that a target x is `[1, 3, R, R]`, R the generator's resolution.

    Args:
        generator: The generator.
        target: x.

    Raises:
        InputError: The target has another shape.
    """
    expected = [1, 3, generator.resolution, generator.resolution]
    if list(target.shape) != expected:
        raise InputError(f"target of shape {list(target.shape)}; expected {expected}")
