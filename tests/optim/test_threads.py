"""Helper threads that end with the work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COUNTS = """
import json, os, threading, time, torch
from pti_hub.optim import helpers_end
from pti_hub.optim.threads import _is_gnu

def threads(expected=None):
    # The system may list a thread for a moment after it has ended.
    for _ in range(100):
        if (count := len(os.listdir("/proc/self/task"))) == expected:
            break
        time.sleep(0.01 if expected else 0)
    return count

def work():
    torch.ones(4_000_000).add_(1)

torch.set_num_threads(3)
found = {"before": threads()}
with helpers_end():
    work()
    found["inside"] = threads()
found["after"] = threads(found["before"])

@helpers_end()
def decorated():
    work()
    found["inside_thread"] = threads()

thread = threading.Thread(target=decorated)
thread.start()
thread.join()
found["after_thread"] = threads(found["before"])
work()
found["again"] = threads()
print(json.dumps(found | {"is_gnu": _is_gnu}))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads can't be counted")
def test_helpers_end_with_the_context_and_come_back() -> None:
    found = json.loads(subprocess.run([sys.executable, "-c", COUNTS], check=True, capture_output=True).stdout)
    if not found["is_gnu"] or found["inside"] == found["before"]:
        pytest.skip("this build of PyTorch does not work in threads of GNU's OpenMP")
    assert found["inside"] == found["before"] + 2
    assert found["after"] == found["before"]
    assert found["inside_thread"] == found["before"] + 3
    assert found["after_thread"] == found["before"]
    assert found["again"] == found["before"] + 2
