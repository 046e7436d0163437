"""A server on this machine that has one file."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import BinaryIO

from pti_hub.storage import PublishedFile


class FileServer(ThreadingHTTPServer):
    """Serves one file, with ranges, in part, drop by drop, or not at all."""

    content = b""
    cut: int | None = None
    status: int | None = None
    drips = False
    asked: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ffhq.pkl"


class Handler(BaseHTTPRequestHandler):
    """Answers for a `FileServer`."""

    server: FileServer

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.status is not None:
            self.send_error(self.server.status)
            return
        if asked == f"bytes={len(self.server.content)}-":
            self.send_error(416)
            return
        first = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        body = self.server.content[first:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        if asked:
            size = len(self.server.content)
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        self.end_headers()
        if self.server.drips:
            drip(self.wfile, body)
            return
        self.wfile.write(body if self.server.cut is None else body[: self.server.cut])

    def log_message(self, *_: object) -> None:
        """Silence."""


def drip(file: BinaryIO, data: bytes) -> None:
    """Send a byte every tenth of a second, until nobody listens any more."""
    with suppress(OSError):
        for byte in data:
            file.write(bytes([byte]))
            # Tests replace `time.sleep`.
            threading.Event().wait(0.1)


def published(server: FileServer) -> PublishedFile:
    """The file that a server has, as its authors would announce it."""
    return PublishedFile(server.url, hashlib.sha256(server.content).hexdigest(), len(server.content), "for tests only")
