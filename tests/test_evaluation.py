"""Data, measurements, results and tables of the evaluation, on tiny networks."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pti_hub import (
    InputError,
    PivotalTuner,
    PivotalTunerConfig,
    PTIPipeline,
    WeightsError,
    WProjector,
    WProjectorConfig,
)
from pti_hub.evaluation import METHODS, Method, Results, Table, measure, named_methods, open_photographs
from pti_hub.evaluation.measure import similarity
from pti_hub.evaluation.methods import Schedule
from pti_hub.generators import MobileStyleGAN, w_statistics

EVALUATE = Path(__file__).parents[1] / "examples" / "evaluate.py"

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("datasets", "torchmetrics")),
    reason="needs pti-hub[evaluation]",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, of which the second can't be read."""
    made = tmp_path / "photos"
    made.mkdir()
    random = np.random.default_rng(0)
    for name in ("a.png", "c.png"):
        coarse = Image.fromarray(random.integers(0, 255, (4, 4, 3), np.uint8))
        coarse.resize((200, 200), Image.Resampling.BICUBIC).save(made / name)
    (made / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"no picture")
    return made


def test_a_folder_is_streamed_and_a_damaged_picture_named(folder: Path) -> None:
    found = list(open_photographs(folder))
    assert [photograph.name for photograph in found] == ["a.png", "b.png", "c.png"]
    assert found[0].image is not None
    assert found[0].image.size == (200, 200)
    assert found[1].image is None
    assert found[1].problem
    assert [p.name for p in open_photographs(folder, count=1)] == ["a.png"]


def test_data_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        list(open_photographs(tmp_path / "empty"))
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "rows.csv").write_text("name,age\nada,36\n")
    with pytest.raises(InputError, match="table"):
        list(open_photographs(tmp_path / "table"))


def test_a_column_that_is_not_there(folder: Path) -> None:
    with pytest.raises(InputError, match=r"has the columns image, of which image hold pictures; 'photo' was asked for"):
        list(open_photographs(folder, column="photo"))


@pytest.fixture
def large_pipe(pipe: PTIPipeline) -> PTIPipeline:
    """A pipeline of 256² px, since MS-SSIM needs as much, on the CPU."""
    torch.manual_seed(0)
    network = MobileStyleGAN(z_dim=16, w_dim=16, channels=(8, 8, 8, 8, 4, 4), mapping_layers=2)
    with torch.no_grad():
        network.to_image.weight.mul_(0.1)
    network.w_avg, network.w_std = w_statistics(network, num_samples=500)
    pipe.generator = network.eval()
    pipe.edits.clear()
    return pipe


def methods() -> list[Method]:
    projector = WProjector(WProjectorConfig(num_steps=2, resolution=64))
    tuner = PivotalTuner(PivotalTunerConfig(num_steps=10, check_interval=5, lpips_threshold=0.0, learning_rate=3e-3))
    return [Method("mine", projector), Method("mine_tuned", projector, tuner)]


def test_what_is_measured(large_pipe: PTIPipeline, folder: Path) -> None:
    photograph = next(open_photographs(folder)).image
    assert photograph is not None
    plain, tuned = (measure(large_pipe, method, photograph, edits=False) for method in methods())
    assert plain.keys() == tuned.keys() >= {"lpips_alex", "lpips_alex_256", "mse", "psnr", "ms_ssim", "w_distance"}
    assert tuned["lpips_alex"] < plain["lpips_alex"]
    assert tuned["w_distance"] == plain["w_distance"]
    # PSNR follows from the error of what can be shown.
    assert plain["psnr"] == pytest.approx(10 * math.log10(4 / plain["mse"]), abs=1)
    with pytest.raises(InputError, match="'tiny' has no direction pose, smile, age; measure without edits"):
        measure(large_pipe, methods()[0], photograph)


def test_methods_by_name(pipe: PTIPipeline) -> None:
    made = named_methods(["sg2", "pti", "sg2_wplus"], pipe, Schedule())
    assert [method.name for method in made] == ["sg2", "pti", "sg2_wplus"]
    assert made[0].projector.config == made[1].projector.config
    assert made[0].tuner is None
    assert made[1].tuner is not None
    assert made[2].projector.config.num_steps == 2100  # section 4.5
    with pytest.raises(InputError, match=f"no method is named restyle; there are {', '.join(METHODS)}"):
        named_methods(["pti", "restyle"], pipe)
    with pytest.raises(InputError, match="'tiny' has no encoder"):
        named_methods(["e4e"], pipe)


def test_similarity_is_the_cosine() -> None:
    assert similarity(np.array([3.0, 0]), np.array([2.0, 2])) == pytest.approx(math.sqrt(0.5))
    assert math.isnan(similarity(np.full(3, np.nan), np.ones(3)))


def filled(folder: Path) -> Results:
    results = Results(folder, {"seed": 0})
    for image, sg2, pti in (("a", 0.5, 0.1), ("b", 0.3, 0.1), ("c", 0.4, 0.4)):
        results.add(image, "sg2", {"lpips_alex": sg2, "identity": 0.5})
        results.add(image, "pti", {"lpips_alex": pti, "identity": float("nan") if image == "c" else 0.9})
    results.add("d", "none", {"problem": "no face found"})
    return results


def test_results_outlive_a_kill_and_add_up(tmp_path: Path) -> None:
    filled(tmp_path)
    with (tmp_path / "results-0.jsonl").open("a") as file:
        file.write('{"image": "e", "meth')
    again = Results(tmp_path, {"seed": 0})
    assert again.has("a", "pti")
    assert not again.has("e", "pti")
    again.add("e", "pti", {"lpips_alex": 0.2})
    other = Results(tmp_path, {"seed": 0}, rank=1)
    other.add("f", "pti", {"lpips_alex": 0.3})
    found = Results(tmp_path, {"seed": 0})
    assert [row["image"] for row in found.of("pti")] == ["a", "b", "c", "e", "f"]
    assert found.problems == {"d": "no face found"}
    with pytest.raises(InputError, match=r'holds results of other settings, \{"seed": 0\}; give another folder'):
        Results(tmp_path, {"seed": 1})


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "results-0.jsonl"
    path.write_text(path.read_text().replace('{"image": "b"', '"image": "b"', 1))
    with pytest.raises(WeightsError, match=r"results-0\.jsonl, line 3 is damaged"):
        Results(tmp_path, {"seed": 0})


def test_a_table_has_means_intervals_and_the_papers_figures(tmp_path: Path) -> None:
    table = Table("table1", filled(tmp_path))
    cell = table.cells["LPIPS", "pti"]
    assert cell.mean == pytest.approx(0.2)
    assert (cell.low, cell.high) == (pytest.approx(0.1), pytest.approx(0.4))
    assert (cell.count, cell.paper) == (3, 0.09)
    assert table.cells["identity similarity", "pti"].count == 2
    assert [measure.label for measure in table.measures] == ["LPIPS", "identity similarity"]
    text = table.to_markdown()
    assert "| LPIPS | 0.400 [0.300, 0.500] (paper 0.4) | **0.200** [0.100, 0.400] (paper 0.09) |" in text
    assert r"LPIPS & 0.400 & \textbf{0.200} \\" in table.to_latex()
    assert '"LPIPS",pti,0.2,0.1,0.4,3,0.09' in table.to_csv()
    table.save(tmp_path)
    assert {path.name for path in tmp_path.glob("table1.*")} == {"table1.md", "table1.csv", "table1.tex"}


def test_the_example_runs_resumes_and_shares(large_pipe: PTIPipeline, folder: Path, tmp_path: Path) -> None:
    large_pipe.save_pretrained(tmp_path / "pipe")
    out = {}
    for name, launch in (
        ("one", [sys.executable]),
        ("two", [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]),
    ):
        command = [*launch, str(EVALUATE), "--data", str(folder), "--model", str(tmp_path / "pipe"), "--no-align"]
        command += ["--tables", "table1", "--preset", "saved", "--methods", "sg2,pti", "--out", str(tmp_path / name)]
        environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "HF_HOME": str(tmp_path / "home")}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert "skipped b.png" in run.stderr
        assert (tmp_path / name / "table1.md").is_file()
        rows = [json.loads(line) for path in (tmp_path / name).glob("*.jsonl") for line in path.open()]
        assert len(rows) == 5
        # Nothing is measured twice.
        subprocess.run(command, env=environment, capture_output=True, check=True)
        assert rows == [json.loads(line) for path in (tmp_path / name).glob("*.jsonl") for line in path.open()]
        out[name] = {(row["image"], row["method"]): row for row in rows if "problem" not in row}
    assert out["one"].keys() == out["two"].keys()
    for key, row in out["one"].items():
        for measure_name in ("lpips_alex", "mse", "ms_ssim", "w_distance"):
            # One thread a process adds up in another order than two.
            assert row[measure_name] == pytest.approx(out["two"][key][measure_name], rel=1e-3)


def test_the_examples_errors_are_one_line(tmp_path: Path) -> None:
    run: Any = subprocess.run(
        [sys.executable, str(EVALUATE), "--tables", "table9"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stderr.strip() == "error: no table is named table9; there are table1, table2"
