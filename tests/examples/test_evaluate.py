"""The command line of examples/evaluate.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.needs import needs_evaluation
from support.places import EXAMPLES

from pti_hub import PTIPipeline
from pti_hub.evaluation import EXHIBITS

pytestmark = needs_evaluation


EVALUATE = EXAMPLES / "evaluate.py"


def command_of(photos: Path, pipe: Path, out: Path, *launch: str) -> list[str]:
    command = [sys.executable, *launch, str(EVALUATE), "--data", str(photos), "--model", str(pipe), "--no-align"]
    return [*command, "--show", "table1", "--preset", "saved", "--methods", "sg2,pti", "--out", str(out)]


def environment_of(home: Path) -> dict[str, str]:
    return {**os.environ, "ACCELERATE_USE_CPU": "1", "HF_HOME": str(home)}


def rows_of(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    rows = [json.loads(line) for path in out.glob("*.jsonl") for line in path.open() if line.endswith("}\n")]
    assert len({(row["image"], row["method"]) for row in rows}) == len(rows)
    return {(row["image"], row["method"]): row for row in rows if "problem" not in row}


def assert_same(a: dict[tuple[str, str], dict[str, Any]], b: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert a.keys() == b.keys()
    for key, row in a.items():
        for name in ("lpips_alex", "mse", "ms_ssim", "w_distance"):
            # One thread a process adds up in another order than two.
            assert row[name] == pytest.approx(b[key][name], rel=1e-3)


def test_the_example_runs_resumes_and_shares(large_pipe: PTIPipeline, photos: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    large_pipe.save_pretrained(pipe)
    distributed = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    for name, launch in (("one", ()), ("two", distributed)):
        command, out = command_of(photos, pipe, tmp_path / name, *launch), tmp_path / name
        environment = environment_of(tmp_path / "home")
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert "skipped b.png" in run.stderr
        assert (out / "table1.md").is_file()
        rows = rows_of(out)
        assert len(rows) == 4
        if name == "one":
            # Nothing is measured twice, and the report has everything.
            subprocess.run(command, env=environment, capture_output=True, check=True)
            assert rows == rows_of(out)
            report = (out / "report.html").read_text()
            assert "1 skipped:" in report
            assert "b.png" in report
            assert "data:image/png;base64," in report
    assert_same(rows_of(tmp_path / "one"), rows_of(tmp_path / "two"))
    # Killed as soon as there is something to lose, and begun again.
    command = command_of(photos, pipe, tmp_path / "killed")
    process = subprocess.Popen(command, env=environment_of(tmp_path / "home"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / "results.jsonl").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < len(rows_of(tmp_path / "killed")) < 4
    subprocess.run(command, env=environment_of(tmp_path / "home"), capture_output=True, check=True)
    assert_same(rows_of(tmp_path / "one"), rows_of(tmp_path / "killed"))


def test_the_examples_errors_are_one_line(tmp_path: Path) -> None:
    for arguments, message in (
        (["--show", "table9"], f"no table or figure is named table9; there are {', '.join(EXHIBITS)}"),
        (["--protocol", "mine"], "protocol='mine'; expected one of paper, ganinverter"),
        (["compare", str(tmp_path), str(tmp_path)], f"{tmp_path} holds no results; expected results*.jsonl, as "),
    ):
        run = subprocess.run([sys.executable, str(EVALUATE), *arguments], capture_output=True, text=True, check=False)
        assert run.returncode == 1
        assert run.stderr.startswith(f"error: {message}")
        assert run.stderr.count("\n") == 1
