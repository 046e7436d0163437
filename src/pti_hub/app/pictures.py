"""Pictures and files that the page shows and offers, kept in memory: nothing is written for them."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_ADDRESS = "/pictures"
_LATEST = 2
"""So many pictures of one place on the page are kept: a browser may still be fetching the one before."""

Content: TypeAlias = "bytes | Callable[[], bytes]"


@dataclass(frozen=True)
class _Item:
    content: Content
    media_type: str
    name: str


class Pictures:
    """Files by address. An address can't be guessed, and is told to nobody but its owner's browser."""

    def __init__(self) -> None:
        self._items: dict[str, _Item] = {}
        self._places: dict[tuple[str, str], deque[str]] = {}
        self._forgotten: deque[str] = deque(maxlen=10_000)
        self._lock = threading.Lock()

    def put(self, owner: str, place: str, content: Content, media_type: str, name: str = "") -> str:
        """Keep a file, in place of an older one.

        Args:
            owner: Whose file it is.
            place: Where on the page it belongs; all but the latest few of one place are forgotten.
            content: The file, or what makes it when it is asked for.
            media_type: MIME type.
            name: What a browser calls the file when it saves it; without a name the file is shown.

        Returns:
            The address, from the server's root on.
        """
        token = secrets.token_urlsafe(24)
        with self._lock:
            if owner in self._forgotten:
                return f"{_ADDRESS}/{token}"
            tokens = self._places.setdefault((owner, place), deque())
            tokens.append(token)
            self._items[token] = _Item(content, media_type, name)
            while len(tokens) > _LATEST:
                del self._items[tokens.popleft()]
        return f"{_ADDRESS}/{token}"

    def forget(self, owner: str) -> None:
        """Forget all files of an owner, and keep no more of them: work that is under way may still make some."""
        with self._lock:
            self._forgotten.append(owner)
            self._drop(owner)

    def clear(self, owner: str) -> None:
        """Forget the files that an owner has by now."""
        with self._lock:
            self._drop(owner)

    def _drop(self, owner: str) -> None:
        for place in [place for place in self._places if place[0] == owner]:
            for token in self._places.pop(place):
                del self._items[token]

    def __len__(self) -> int:
        return len(self._items)

    @property
    def route(self) -> Route:
        """The route by which a server offers the files."""
        return Route(f"{_ADDRESS}/{{token}}", self._respond)

    def _respond(self, request: Request) -> Response:
        # Not a coroutine, so that content that is made now is made in a thread of its own.
        item = self._items.get(request.path_params["token"])
        if item is None:
            return Response("this picture is no longer kept", 404, media_type="text/plain")
        content = item.content() if callable(item.content) else item.content
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        if item.name:
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(item.name)}"
        return Response(content, headers=headers, media_type=item.media_type)
