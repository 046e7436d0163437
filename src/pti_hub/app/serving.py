"""A server of the page, which writes nothing to the disk where it can help it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypedDict

import psutil
from typing_extensions import Unpack

from pti_hub.app.settings import Settings
from pti_hub.errors import InputError, MissingDependencyError
from pti_hub.pipelines import PTIPipeline

_PREFIX = "pti-hub-"

_MEMORY = Path("/dev/shm")
"""Linux's folder in memory."""


_ROOM = 10**9
"""Bytes that have to be free there: containers often have 64 MB."""


class ServerOptions(TypedDict, total=False):
    """How the page is served.

    Attributes:
        host: Address to listen on, `"127.0.0.1"` by default; `"0.0.0.0"` is reached from other machines.
        port: Port to listen on; the first free one from 7860 on by default.
        share: Whether to open a public address at Hugging Face, whose tunnel all pictures then go through.
        auth: `"NAME:PASSWORD"`, asked for before the page is shown.
        opens_browser: Whether to open a browser.
    """

    host: str
    port: int | None
    share: bool
    auth: str | None
    opens_browser: bool


LOCAL = ("127.0.0.1", "localhost", "::1")
"""Addresses of a server that only this machine reaches."""


def serve(pipe: PTIPipeline, settings: Settings | None = None, **options: Unpack[ServerOptions]) -> None:
    """Serve the page until interrupted.

    Args:
        pipe: The pipeline; its progress bars are silenced.
        settings: What is allowed; by default a page that only this machine reaches may name folders of this machine.
        **options: See `ServerOptions`.

    Raises:
        MissingDependencyError: gradio is not installed.
        InputError: `auth` is malformed, or the port is taken.
    """
    if threading.current_thread() is threading.main_thread():
        # Like Ctrl-C, so that the folder of temporary files is removed.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    with served(pipe, settings, **options) as address, suppress(KeyboardInterrupt):
        print(f"PTI Hub is at {address} (Ctrl-C ends it)", flush=True)
        while True:
            time.sleep(3600)  # on Windows, waiting without end can't be interrupted


@contextmanager
def served(
    pipe: PTIPipeline,
    settings: Settings | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    share: bool = False,
    auth: str | None = None,
    opens_browser: bool = False,
) -> Iterator[str]:
    """A server of the page beside other work; arguments and errors as in `serve`, see `ServerOptions`.

    The pipeline belongs to the server meanwhile, and temporary files of the whole process go to the server's folder.

    Yields:
        Address of the page.
    """
    check_gradio()
    account = _account(auth)
    settings = settings or Settings(is_local=host in LOCAL and not share)
    with _folder_in_memory():
        # gradio reads the folder's name as it is imported.
        from pti_hub.app.page import build_page
        from pti_hub.app.studio import Studio
        from pti_hub.app.theme import theme

        pipe.set_progress_bar_config(disable=True)
        studio = Studio(pipe, settings)
        page = build_page(studio)
        page.queue(max_size=2 * settings.visits)
        try:
            _, url, shared = page.launch(
                server_name=host,
                server_port=port,
                share=share,
                auth=account,
                inbrowser=opens_browser,
                prevent_thread_lock=True,
                quiet=True,
                theme=theme(),
                css_paths=Path(__file__).with_name("page.css"),
                head=f"<script>{Path(__file__).with_name('page.js').read_text(encoding='utf-8')}</script>",
                max_file_size=f"{settings.megabytes}mb",
                state_session_capacity=50 * settings.visits,  # gradio counts closed pages, too
                footer_links=["gradio", "settings"],
                ssr_mode=False,
                enable_monitoring=False,
                app_kwargs={"routes": [studio.pictures.route]},
            )
        except OSError as error:
            raise InputError(f"{host}:{port or 7860} can't be listened on: {error}; give another --port") from error
        try:
            if share and not shared:
                raise InputError("no public address could be had; leave --share out, or try again")
            yield shared or url
        finally:
            page.close(verbose=False)
            studio.remarks.close()


def check_gradio() -> None:
    """Make sure that gradio is installed, and tells nobody that it is used.

    Raises:
        MissingDependencyError: It is not.
    """
    # No statistics of events, neither told to gradio's makers nor computed anew after each event.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(10**9)
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
    if importlib.util.find_spec("gradio") is None:
        raise MissingDependencyError("the page needs gradio; run: pip install 'pti-hub[app]'")


@contextmanager
def _folder_in_memory() -> Iterator[None]:
    """A private folder for temporary files, in memory where the system has such a place; gone at the end."""
    is_usable = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM
    place = str(_MEMORY) if is_usable else None
    _sweep(Path(place or tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=place) as folder:
        before = tempfile.tempdir, os.environ.get("GRADIO_TEMP_DIR")
        tempfile.tempdir = os.environ["GRADIO_TEMP_DIR"] = folder
        try:
            yield
        finally:
            tempfile.tempdir = before[0]
            os.environ.pop("GRADIO_TEMP_DIR")
            if before[1] is not None:
                os.environ["GRADIO_TEMP_DIR"] = before[1]


def _sweep(place: Path) -> None:
    """Remove the folders of servers that were killed."""
    for folder in place.glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _account(auth: str | None) -> tuple[str, str] | None:
    if auth is None:
        return None
    name, separator, password = auth.partition(":")
    if not (name and separator and password):
        raise InputError("--auth was given without a name or a password; expected NAME:PASSWORD")
    return name, password
