"""Types of fixtures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

RenderElsewhere = Callable[[Path, str, str], np.ndarray]
"""Folder of a saved pipeline, identity and edit → picture."""
