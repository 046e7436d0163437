"""Data, measurements, results and tables of the evaluation, on tiny networks."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pti_hub import (
    InputError,
    MissingDependencyError,
    PivotalTuner,
    PivotalTunerConfig,
    PTIPipeline,
    WeightsError,
    WProjector,
    WProjectorConfig,
)
from pti_hub.evaluation import (
    EXHIBITS,
    METHODS,
    Comparison,
    Measurements,
    Method,
    Results,
    SampleDistance,
    Schedule,
    Table,
    draw,
    evaluate,
    named_methods,
    open_photographs,
    write_report,
)
from pti_hub.evaluation.measure import similarity
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


def test_pictures_of_one_name_are_told_apart(folder: Path) -> None:
    (folder / "more").mkdir()
    shutil.copy(folder / "a.png", folder / "more" / "a.png")
    assert [p.name for p in open_photographs(folder)] == ["a.png", "b.png", "c.png", "more/a.png"]


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
    plain, tuned = (Measurements(large_pipe)(m, photograph, ["reconstruction", "drift"]).values for m in methods())
    assert plain.keys() == tuned.keys() >= {"lpips_alex", "lpips_alex_256", "mse", "psnr", "ms_ssim", "w_distance"}
    assert tuned["lpips_alex"] < plain["lpips_alex"]
    assert tuned["w_distance"] == plain["w_distance"]
    # Nothing was tuned, so nothing went anywhere.
    assert plain["drift_mse"] == 0 < tuned["drift_mse"]
    assert plain["drift_lpips"] < 1e-9 < tuned["drift_lpips"]
    # PSNR follows from the error of what can be shown.
    assert plain["psnr"] == pytest.approx(10 * math.log10(4 / plain["mse"]), abs=1)
    with pytest.raises(InputError, match="'tiny' has no direction pose, smile, age; measure without edits"):
        Measurements(large_pipe)(methods()[0], photograph, ["edits"])
    with pytest.raises(InputError, match="no metric is named beauty; there are reconstruction, identity, edits"):
        Measurements(large_pipe)(methods()[0], photograph, ["beauty"])


def test_random_samples_before_and_after(large_pipe: PTIPipeline) -> None:
    def means(pictures: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(pictures / 255, 2).flatten(1)

    distance = SampleDistance(large_pipe, 40, means)
    weights = {name: p.detach() for name, p in large_pipe.generator.named_parameters()}
    same = distance(weights)
    assert same["fid_after"] == same["fid_before"]
    assert same["kid_after"] == same["kid_before"]
    # Every picture a little brighter.
    bias = next(name for name in weights if name.endswith("to_image.bias"))
    other = distance({**weights, bias: weights[bias] + 0.2})
    assert other["fid_after"] > 4 * same["fid_before"]
    assert other["kid_after"] > same["kid_before"]
    with pytest.raises(InputError, match="2 samples were asked for; distributions need at least 10"):
        SampleDistance(large_pipe, 2, means)


@pytest.mark.skipif(importlib.util.find_spec("torch_fidelity") is not None, reason="torch-fidelity is installed")
def test_fid_says_what_it_needs(large_pipe: PTIPipeline, folder: Path) -> None:
    with pytest.raises(MissingDependencyError, match="FID needs torch-fidelity and the weights it downloads"):
        Measurements(large_pipe).check(["fid"])


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
    far, near = named_methods(["pti_alpha60", "pti_alpha2"], pipe)
    assert far.tuner is not None
    assert near.tuner is not None
    assert (far.tuner.config.locality_alpha, near.tuner.config.locality_alpha) == (60, 2)
    assert far.tuner.config.locality_weight == 0.1


def test_a_schedule_can_be_changed() -> None:
    changed = Schedule().changed(["w_plus.num_steps=300", "locality.locality_weight=0.4", "w.early=true"])
    assert (changed.w_plus.num_steps, changed.locality.locality_weight, changed.w.early) == (300, 0.4, True)
    assert changed.tuning == Schedule().tuning
    for setting, message in (
        ("wplus.num_steps=3", "expected PART.NAME=VALUE, parts: w, w_plus, encoder, tuning, locality"),
        ("tuning.steps=3", "of tuning: num_steps, learning_rate"),
        ("tuning.num_steps=many", "num_steps='many'; expected a whole number above zero"),
        ("tuning.num_steps=1.5", "num_steps=1.5; expected a whole number above zero"),
        ("w", "'w' sets nothing"),
    ):
        with pytest.raises(InputError, match=message):
            Schedule().changed([setting])


def test_similarity_is_the_cosine() -> None:
    assert similarity(np.array([3.0, 0]), np.array([2.0, 2])) == pytest.approx(math.sqrt(0.5))
    assert math.isnan(similarity(np.full(3, np.nan), np.ones(3)))


def filled(folder: Path, better: float = 0.0) -> Results:
    results = Results(folder, {"seed": 0})
    groups = ["reconstruction", "identity"]
    for image, sg2, pti in (("a", 0.5, 0.1), ("b", 0.3, 0.1), ("c", 0.4, 0.4)):
        results.add(image, "sg2", groups, {"lpips_alex": sg2, "identity": 0.5})
        identity = float("nan") if image == "c" else 0.9
        results.add(image, "pti", groups, {"lpips_alex": pti - better, "identity": identity})
    results.skip("d", "no face found")
    return results


def test_results_outlive_a_kill_and_add_up(tmp_path: Path) -> None:
    filled(tmp_path)
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"image": "e", "meth')
    again = Results(tmp_path, {"seed": 0})
    assert again.missing("a", "pti", ["identity", "drift"]) == ["drift"]
    assert again.missing("e", "pti", ["identity"]) == ["identity"]
    again.add("e", "pti", ["reconstruction"], {"lpips_alex": 0.2, "seconds": 1.0})
    other = Results(tmp_path, {"seed": 0}, rank=1)
    other.add("f", "pti", ["reconstruction"], {"lpips_alex": 0.3})
    again.add("e", "pti", ["drift"], {"drift_mse": 0.5, "seconds": 9.0})
    found = Results.load(tmp_path)
    assert [row["image"] for row in found.of("pti")] == ["a", "b", "c", "e", "f"]
    # What was measured later goes with what was there.
    e = found.of("pti")[3]
    assert (e["lpips_alex"], e["drift_mse"], e["seconds"]) == (0.2, 0.5, 1.0)
    assert found.problems == {"d": "no face found"}
    with pytest.raises(InputError, match=r"holds results of other settings \(seed: 0, not 1\); give another folder"):
        Results(tmp_path, {"seed": 1})


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "results.jsonl"
    path.write_text(path.read_text().replace('{"image": "b"', '"image": "b"', 1))
    with pytest.raises(WeightsError, match=r"results\.jsonl, line 3 is damaged"):
        Results(tmp_path, {"seed": 0})


def test_pictures_stay_in_the_folder(tmp_path: Path) -> None:
    results = Results(tmp_path / "out", {})
    picture = Image.new("RGB", (4, 4))
    for name in ("../../x", "..", "/etc/passwd", "a b", "a-b", "ä" * 300):
        results.add_pictures(name, "pti", {"smile": picture, "age": picture})
        assert list(results.pictures(name, "pti")) == ["smile", "age"]
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == 6


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
    assert r"LPIPS & 0.400 (0.4) & \textbf{0.200} (0.09) \\" in table.to_latex()
    assert '"LPIPS",pti,0.2,0.1,0.4,3,0.09' in table.to_csv()
    table.save(tmp_path)
    assert {path.name for path in tmp_path.glob("table1.*")} == {"table1.md", "table1.csv", "table1.tex"}
    assert Table("table1", filled(tmp_path), ["pti", "sg2"]).methods == ["pti", "sg2"]


def test_two_folders_are_compared_by_photograph(tmp_path: Path) -> None:
    few = filled(tmp_path / "a"), filled(tmp_path / "b", better=0.05)
    # Three photographs are no evidence, whatever the bootstrap says.
    assert not any(pair.verdict for pair in Comparison(tmp_path / "a", tmp_path / "b").pairs)
    for results, lpips in zip(few, (0.2, 0.15), strict=True):
        for image in ("x", "y"):
            results.add(image, "pti", ["reconstruction"], {"lpips_alex": lpips})
    comparison = Comparison(tmp_path / "a", tmp_path / "b")
    pairs = {(pair.method, pair.label): pair for pair in comparison.pairs}
    pti = pairs["pti", "LPIPS"]
    # The photographs are far apart, but each is better by as much: only pairing shows it.
    assert (pti.difference.mean, pti.difference.low) == (pytest.approx(-0.05), pytest.approx(-0.05))
    assert (pti.verdict, pti.difference.count) == ("second", 5)
    assert pairs["sg2", "LPIPS"].verdict == ""
    assert len(pairs) == 4
    comparison.save(tmp_path / "c")
    assert (
        "| pti | LPIPS | 0.200 | 0.150 | -0.050 [-0.050, -0.050] | 5 | second |"
        in (tmp_path / "c" / "compare.md").read_text()
    )
    other = Results(tmp_path / "d", {"seed": 1})
    other.add("z", "pti", ["reconstruction"], {"lpips_alex": 0.1})
    with pytest.raises(InputError, match="no photograph measured with the same method"):
        Comparison(tmp_path / "a", tmp_path / "d")
    other.add("a", "pti", ["reconstruction"], {"lpips_alex": 0.1})
    assert "Their settings differ: seed: 0, not 1." in Comparison(tmp_path / "a", tmp_path / "d").to_markdown()
    with pytest.raises(InputError, match="holds no results"):
        Comparison(tmp_path / "a", tmp_path / "nothing")


def command_of(folder: Path, pipe: Path, out: Path, *launch: str) -> list[str]:
    command = [sys.executable, *launch, str(EVALUATE), "--data", str(folder), "--model", str(pipe), "--no-align"]
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


def test_the_example_runs_resumes_and_shares(large_pipe: PTIPipeline, folder: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    large_pipe.save_pretrained(pipe)
    distributed = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    for name, launch in (("one", ()), ("two", distributed)):
        command, out = command_of(folder, pipe, tmp_path / name, *launch), tmp_path / name
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
    command = command_of(folder, pipe, tmp_path / "killed")
    process = subprocess.Popen(command, env=environment_of(tmp_path / "home"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / "results.jsonl").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < len(rows_of(tmp_path / "killed")) < 4
    subprocess.run(command, env=environment_of(tmp_path / "home"), capture_output=True, check=True)
    assert_same(rows_of(tmp_path / "one"), rows_of(tmp_path / "killed"))


def test_own_methods_plots_and_sheets(large_pipe: PTIPipeline, folder: Path, tmp_path: Path) -> None:
    results = Results(tmp_path, {})
    groups = ["reconstruction", "drift", "pictures"]
    measurements = Measurements(large_pipe, latents=2)
    evaluate(open_photographs(folder), [(m, groups) for m in methods()], measurements, results, align=False)
    assert list(results.problems) == ["b.png"]
    for name in EXHIBITS:
        for path in draw(name, results):
            with Image.open(path) as picture:
                assert picture.width > 200
    assert {p.name for p in tmp_path.glob("*.jpg")} == {"figure16-1.jpg", "figure21-1.jpg"}
    assert {"table1.png", "figure15.png", "figure17.png"} <= {p.name for p in tmp_path.glob("*.png")}
    assert not list(tmp_path.glob(".*"))


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A real one, as narrow as a phone."""
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    flags = ("headless", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-sync", "no-first-run")
    for flag in (*flags, "disable-component-update", f"user-data-dir={tmp_path / 'browser'}"):
        options.add_argument(f"--{flag}")
    options.add_experimental_option("mobileEmulation", {"deviceMetrics": {"width": 390, "height": 844}})
    started = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    yield started
    started.quit()


def test_the_report_in_a_browser(browser: Any, tmp_path: Path) -> None:
    results = filled(tmp_path)
    results.add("<script>alert(1)</script>.jpg", "pti", ["reconstruction"], {"lpips_alex": 0.25})
    for image in results.images:
        for method in ("photograph", "pti"):
            results.add_pictures(image, method, {"reconstruction": Image.new("RGB", (256, 256), "red")})
    table = Table("table1", results)
    path = write_report(results, [(table, draw("table1", results)), (Table("figure21", results), [])], "Mine")
    # Moved away from everything it was made beside.
    alone = tmp_path / "alone" / "report.html"
    alone.parent.mkdir()
    path.rename(alone)
    browser.get(alone.as_uri())
    assert browser.title == "Mine"
    assert "1 skipped" in browser.find_element("id", "skipped").text
    for details in browser.find_elements("tag name", "details"):
        browser.execute_script("arguments[0].open = true; arguments[0].scrollIntoView()", details)
    images = browser.find_elements("tag name", "img")
    loaded = "return [...document.images].every(i => { i.loading = 'eager'; return i.complete && i.naturalWidth > 0 })"
    deadline = time.monotonic() + 20
    while not browser.execute_script(loaded) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert browser.execute_script(loaded)
    assert len(images) == 1 + 2 * 4
    # Nothing but the tables is wider than the phone, and they scroll by themselves.
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")

    def column(number: int) -> list[str]:
        cells = browser.find_elements("css selector", f"#rows tbody td:nth-child({number})")
        return [cell.get_attribute("textContent") for cell in cells]

    lpips = browser.find_element("css selector", "#rows thead th:nth-child(3) button")
    assert lpips.text.startswith("LPIPS")
    lpips.click()
    assert column(3) == ["0.100", "0.100", "0.250", "0.300", "0.400", "0.400", "0.500"]
    lpips.click()
    assert column(3) == ["0.500", "0.400", "0.400", "0.300", "0.250", "0.100", "0.100"]
    identity = browser.find_element("css selector", "#rows thead th:nth-child(4) button")
    for _ in range(2):
        # What was not measured stays at the end.
        identity.click()
        assert column(4)[-2:] == ["–", "–"]
    browser.find_element("css selector", "#rows thead th:nth-child(1) button").click()
    assert column(1)[0].startswith("<script>")
    problems = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not problems


def test_the_examples_errors_are_one_line(tmp_path: Path) -> None:
    for arguments, message in (
        (["--show", "table9"], f"no table or figure is named table9; there are {', '.join(EXHIBITS)}"),
        (["compare", str(tmp_path), str(tmp_path)], f"{tmp_path} holds no results; expected results*.jsonl, as "),
    ):
        run = subprocess.run([sys.executable, str(EVALUATE), *arguments], capture_output=True, text=True, check=False)
        assert run.returncode == 1
        assert run.stderr.startswith(f"error: {message}")
        assert run.stderr.count("\n") == 1
