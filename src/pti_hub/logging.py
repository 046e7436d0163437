"""What the package reports while it works, and how to make it report more or less.

    import pti_hub

    pti_hub.logging.set_verbosity_info()

The functions are named as in transformers and diffusers. Messages go to standard error. `PTI_HUB_VERBOSITY` in the
environment sets the verbosity from the start: `debug`, `info`, `warning` (the default) or `error`.
"""

from __future__ import annotations

import logging
import os
import sys
from logging import DEBUG, ERROR, INFO, WARNING
from typing import Any

from pti_hub.errors import InputError

_ROOT = "pti_hub"
_LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}


class _StandardError(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to whatever standard error is at the time: a test or a notebook may have replaced it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr


def get_logger(name: str) -> logging.Logger:
    """The logger of a module of this package.

    Args:
        name: The module's `__name__`.
    """
    root = logging.getLogger(_ROOT)
    if not root.handlers:
        root.addHandler(_StandardError())
        root.setLevel(_LEVELS.get(os.environ.get("PTI_HUB_VERBOSITY", "").lower(), WARNING))
        root.propagate = False
    return logging.getLogger(name)


def get_verbosity() -> int:
    """The least level that is reported, of Python's `logging`: 10 debug, 20 info, 30 warning, 40 error."""
    return get_logger(_ROOT).getEffectiveLevel()


def set_verbosity(level: int) -> None:
    """Set the least level that is reported.

    Args:
        level: A level of Python's `logging`, such as `logging.INFO`.

    Raises:
        InputError: The level is no whole number.
    """
    if isinstance(level, bool) or not isinstance(level, int):
        raise InputError(f"verbosity {level!r}; expected a level such as logging.INFO")
    get_logger(_ROOT).setLevel(level)


def set_verbosity_debug() -> None:
    """Report everything."""
    set_verbosity(DEBUG)


def set_verbosity_info() -> None:
    """Report what happens."""
    set_verbosity(INFO)


def set_verbosity_warning() -> None:
    """Report what may need attention: the default."""
    set_verbosity(WARNING)


def set_verbosity_error() -> None:
    """Report errors only."""
    set_verbosity(ERROR)
