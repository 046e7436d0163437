"""What a server of the page allows."""

from __future__ import annotations

from dataclasses import dataclass

from pti_hub.errors import InputError


@dataclass(frozen=True)
class Settings:
    """What a server of the page allows.

    Args:
        is_local: Whether everyone at the page works on this machine, and may name this machine's folders.
        megabytes: Size of an uploaded file, at most.
        megapixels: Size of a photograph, at most.
        visits: Number of people at once, at most; a visit that was idle for `idle_minutes` makes room.
        idle_minutes: After so many minutes without an event, all that a visit holds may be forgotten.

    Raises:
        InputError: A limit is not positive.
    """

    is_local: bool = False
    megabytes: int = 50
    megapixels: int = 50
    visits: int = 20
    idle_minutes: float = 30.0

    def __post_init__(self) -> None:
        for name in ("megabytes", "megapixels", "visits", "idle_minutes"):
            if not (value := getattr(self, name)) > 0:
                raise InputError(f"{name}={value!r}; expected a positive number")
