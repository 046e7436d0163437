"""Helper threads that a thread's parallel work leaves behind."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# <omp.h>: the calling thread's helpers end; its next parallel work starts new ones.
_SOFT_PAUSE = 1

_process = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
# LLVM's runtime has the same function, but not the same fault.
_is_gnu = hasattr(_process, "omp_pause_resource_all") and not hasattr(_process, "kmp_get_blocktime")


@contextmanager
def helpers_end() -> Iterator[None]:
    """End the helper threads of the calling thread when it leaves; also a decorator.

    GNU's OpenMP keeps helpers for every thread that ever worked in parallel. Once all threads and their helpers are
    more than there are cores, it puts helpers to sleep after each operation, and waking them costs a fifth to a quarter
    of the time of tuning. So a server that loads a pipeline in the main thread and works in another one is as fast as
    the main thread only if the main thread's helpers end. New helpers start in 0.1 ms.

    Does nothing with another OpenMP runtime.
    """
    try:
        yield
    finally:
        if _is_gnu:
            assert _process is not None
            _process.omp_pause_resource_all(_SOFT_PAUSE)
