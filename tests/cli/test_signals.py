"""Commands that are stopped end at once, in one line, and leave nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from pti_hub import PivotalTuner, PivotalTunerConfig, PTIPipeline
from pti_hub.images import to_pil

# A shell has its background jobs ignore Ctrl-C, and so would a child of tests that run there.
MAIN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
{first}
from pti_hub.cli import main
main()
"""

# A user who is quicker than PyTorch's import.
WHILE_IMPORTING = """
import os, sys
class Impatient:
    def find_spec(name, path, target=None):
        if name == "torch.nn":
            os.kill(os.getpid(), signal.{name})
sys.meta_path.insert(0, Impatient)
"""


STOPPED = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


@STOPPED
def test_a_signal_ends_a_command(
    pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    to_pil(photograph[None])[0].resize((128, 128), Image.Resampling.BICUBIC).save(tmp_path / "ada.png")
    pipe.tuner = PivotalTuner(PivotalTunerConfig(num_steps=1_000_000, lpips_threshold=0.0))
    pipe.save_pretrained(tmp_path / "model")
    command = ["edit", "ada.png", "-m", "model", "--out", "out", "-e", "smile"]
    with subprocess.Popen(
        [sys.executable, "-c", MAIN.format(first=""), *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        shown = ""
        while "tune" not in shown:
            part = process.stderr.read(20)
            assert part, shown
            shown += part
        process.send_signal(number)
        shown += process.stderr.read()
        assert process.wait(60) == code
    assert shown.endswith("stopped\n")
    assert "Traceback" not in shown
    assert {path.name for path in tmp_path.rglob("*.png")} == {"ada.png"}
    assert not [path for path in tmp_path.rglob(".*")]


@STOPPED
def test_a_signal_ends_a_command_that_still_imports(number: signal.Signals, code: int) -> None:
    command = MAIN.format(first=WHILE_IMPORTING.format(name=number.name))
    ended = subprocess.run([sys.executable, "-c", command, "info"], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "stopped\n")
