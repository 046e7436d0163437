"""What a loop reports while it runs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

StepCallback = Callable[[int, dict[str, Tensor]], None]
"""Called after each step with its number and its metrics, which are tensors: reading one waits for the device."""
