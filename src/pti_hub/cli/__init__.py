"""The command line `pti-hub`."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

__all__ = ["main"]

_INTERRUPTED, _TERMINATED = 130, 143


def main() -> None:
    """Run the command line.

    Errors of this package print one line, without a traceback, and exit with code 1. Ctrl-C exits with code 130 and
    SIGTERM with 143; both leave no half-written file.
    """
    # By default SIGTERM ends the process before it can clean up.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        _run()
    except KeyboardInterrupt:
        _stop(_INTERRUPTED)
    except SystemExit as end:
        if end.code in (_INTERRUPTED, _TERMINATED):
            _stop(end.code)
        raise


def _run() -> None:
    # Here, since PyTorch takes seconds to import, in which a user may press Ctrl-C.
    from pti_hub.cli.commands import app
    from pti_hub.errors import PTIError

    try:
        app()
    except PTIError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(_TERMINATED)


def _stop(code: int) -> NoReturn:
    print("stopped", file=sys.stderr)
    sys.exit(code)
