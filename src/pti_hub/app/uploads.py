"""Uploaded files, which gradio writes to a folder: they are taken out of it as soon as they have arrived."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gradio.utils import get_upload_folder

from pti_hub.errors import InputError

_OLD = 60
"""Seconds after which nobody writes to an empty file any more."""


@contextmanager
def taken(path: str) -> Iterator[Path]:
    """An uploaded file, which is gone from the disk afterwards.

    Args:
        path: What the browser calls the file; it can be any path in the folder of all uploads.

    Raises:
        InputError: That is not an uploaded file.
    """
    file = Path(path)
    # Each upload has a folder of its own.
    if file.is_symlink() or not file.is_file() or file.resolve().parents[1] != Path(get_upload_folder()).resolve():
        raise InputError("the file did not arrive; upload it again")
    try:
        yield file
    finally:
        with suppress(OSError):
            file.unlink()
            file.parent.rmdir()


def sweep_uploads() -> None:
    """Remove the empty files that gradio leaves of each upload; an upload that has just begun is empty, too."""
    for file in Path(get_upload_folder()).glob("tmp*"):
        with suppress(OSError):
            if file.is_file() and not file.stat().st_size and time.time() - file.stat().st_mtime > _OLD:
                file.unlink()
