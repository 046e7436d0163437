"""How slow a server may be."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import get_session

from pti_hub.errors import WeightsError

SLOWEST = 1000
"""Bytes per second that a server has to send."""

PATIENCE = 30.0
"""Seconds over which that speed is measured."""


@contextmanager
def limited_patience() -> Iterator[None]:
    """Inside, what the Hub's client fetches has to come at `SLOWEST` or faster.

    The client itself goes on as long as each single byte comes within its timeout: a server that sends one byte per
    second would hold it for years.

    Raises:
        WeightsError: A server was slower for `PATIENCE` seconds.
    """

    def watch(response: Any) -> None:
        parts = response.iter_raw
        response.iter_raw = lambda *args, **options: _timed(parts(*args, **options), response.url.host)

    hooks = get_session().event_hooks["response"]
    hooks.append(watch)
    try:
        yield
    finally:
        hooks.remove(watch)


def _timed(parts: Iterable[bytes], host: str) -> Iterator[bytes]:
    start, received = time.monotonic(), 0
    for part in parts:
        received += len(part)
        if (seconds := time.monotonic() - start) > PATIENCE:
            if received < SLOWEST * seconds:
                raise WeightsError(
                    f"{host} sent {received} bytes in {seconds:.0f} seconds; try again when the server or the network "
                    "is faster"
                )
            start, received = time.monotonic(), 0
        yield part
