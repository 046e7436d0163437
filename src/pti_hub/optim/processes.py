"""The processes that accelerate has started."""

from __future__ import annotations

from datetime import timedelta

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def process_state() -> PartialState:
    """This process's number, the number of processes, and this process's device."""
    # PartialState does not read accelerate's own variable. One process's photographs may take hours longer than
    # another's.
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=timedelta(days=7))
