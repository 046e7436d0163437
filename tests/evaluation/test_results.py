"""Rows that outlive a kill and add up."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from support.evaluation import filled
from support.needs import needs_evaluation

from pti_hub import InputError, WeightsError
from pti_hub.evaluation import Results

pytestmark = needs_evaluation


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
