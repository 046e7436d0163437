"""What a loop reports while it runs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

StepCallback = Callable[[int, dict[str, Tensor]], None]
"""Called after each step with its number and its metrics, which are tensors: reading one waits for the device.

A loop that fits pictures adds `"picture"`, what was painted `[1, 3, r, r]`; of a step on several, the last one.
"""
