"""Methods are measured, and their tables and figures drawn."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from support.evaluation import methods
from support.needs import needs_evaluation

from pti_hub import PTIPipeline
from pti_hub.evaluation import EXHIBITS, Measurements, Results, draw, evaluate, open_photographs

pytestmark = needs_evaluation


def test_own_methods_plots_and_sheets(large_pipe: PTIPipeline, photos: Path, tmp_path: Path) -> None:
    results = Results(tmp_path, {})
    groups = ["reconstruction", "drift", "pictures"]
    measurements = Measurements(large_pipe, latents=2)
    evaluate(open_photographs(photos), [(m, groups) for m in methods()], measurements, results, align=False)
    assert list(results.problems) == ["b.png"]
    for name in EXHIBITS:
        for path in draw(name, results):
            with Image.open(path) as picture:
                assert picture.width > 200
    assert {p.name for p in tmp_path.glob("*.jpg")} == {"figure16-1.jpg", "figure21-1.jpg"}
    assert {"table1.png", "figure15.png", "figure17.png"} <= {p.name for p in tmp_path.glob("*.png")}
    assert not list(tmp_path.glob(".*"))
