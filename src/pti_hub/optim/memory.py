"""Memory that a loop over large activations frees and takes again at every step."""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# <malloc.h> of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_DEFAULT_TRIM_THRESHOLD, _DEFAULT_MMAP_MAX = 128 * 1024, 65536

_libc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
if _libc is not None:
    # glibc gives a thread an arena of its own, which can't hold blocks over 64 MB: they would be fresh pages again.
    # Threads started from now on share the main thread's arena; a web server runs all its work in such threads.
    _libc.mallopt(_M_ARENA_MAX, 1)

_depth = 0
_lock = threading.Lock()


@contextmanager
def reused_memory() -> Iterator[None]:
    """Keep large freed blocks in the process while a loop runs.

    glibc gives each block over 32 MB back to the kernel when it is freed, so every step of a loop over large
    activations pays for fresh, zeroed pages: on a CPU that takes several times longer than the arithmetic. Inside
    this context the blocks are kept, for all threads; once the last thread has left it, what is free goes back, and the
    allocator has glibc's default settings.

    Does nothing with another C library, in a thread that was started before this module was imported, or in a process
    whose allocations have failed before, since glibc then serves a thread from another arena.
    """
    global _depth
    if _libc is None:
        yield
        return
    with _lock:
        _depth += 1
        if _depth == 1:
            _libc.mallopt(_M_MMAP_MAX, 0)
            _libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _libc.mallopt(_M_MMAP_MAX, _DEFAULT_MMAP_MAX)
                _libc.mallopt(_M_TRIM_THRESHOLD, _DEFAULT_TRIM_THRESHOLD)
                _libc.malloc_trim(0)
