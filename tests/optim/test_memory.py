"""Memory that the hot loops keep."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest
import torch

from pti_hub.optim import reused_memory

PAGE_FAULTS = """
import json, resource, torch
from pti_hub.optim import reused_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        torch.ones(20_000_000).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

found = {"outside": faults()}
with reused_memory():
    with reused_memory():
        faults()
        found["nested"] = faults()
    found["inside"] = faults()
found["after"] = faults()
print(json.dumps(found))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives large blocks back")
def test_freed_memory_is_kept_inside_only() -> None:
    # In a process of its own: an allocation that once failed moves a thread to an arena where this has no effect.
    done = subprocess.run([sys.executable, "-c", PAGE_FAULTS], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert max(found["nested"], found["inside"]) < 0.1 * found["outside"]
    assert found["after"] > 0.5 * found["outside"]


def test_an_error_ends_the_context() -> None:
    with pytest.raises(RuntimeError, match="x"), reused_memory():
        raise RuntimeError("x")
    with reused_memory():
        torch.ones(10)
