"""Memory that a loop over large activations frees and takes again at every step."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# <malloc.h> of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_DEFAULT_TRIM_THRESHOLD, _DEFAULT_MMAP_MAX = 128 * 1024, 65536

_depth = 0


@contextmanager
def reused_memory() -> Iterator[None]:
    """Keep large freed blocks in the process while a loop runs.

    glibc gives each block over 32 MB back to the kernel when it is freed, so every step of a loop over large
    activations pays for fresh, zeroed pages: on a CPU that takes several times longer than the arithmetic. Inside
    this context the main thread's blocks are kept; at its end what is free goes back, and the allocator has glibc's
    default settings. Does nothing with another C library, in other threads, or in a process whose allocations have
    failed before, since glibc then serves a thread from another arena.
    """
    global _depth
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    if _depth == 0:
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if _depth == 0:
            libc.mallopt(_M_MMAP_MAX, _DEFAULT_MMAP_MAX)
            libc.mallopt(_M_TRIM_THRESHOLD, _DEFAULT_TRIM_THRESHOLD)
            libc.malloc_trim(0)
