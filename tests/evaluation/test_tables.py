"""Tables of means and intervals."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from support.evaluation import filled
from support.needs import needs_evaluation

from pti_hub.evaluation import Results, Table, draw, write_report

pytestmark = needs_evaluation


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


def test_others_results_stand_beside_ours(tmp_path: Path) -> None:
    results = Results(tmp_path, {"seed": 0})
    results.add("a", "pti", ["ganinverter"], {"ganinverter_lpips_alex": 0.05, "ganinverter_mse": 0.0041, "seconds": 20})
    table = Table("ganinverter", results)
    text = table.to_markdown()
    assert "| MSE (GANInverter) | **0.0041** [0.0041, 0.0041] |" in text
    # What was not measured here is not shown of others.
    assert "| published | LPIPS (GANInverter) | MSE (GANInverter) | seconds |" in text
    assert "| PTI | 0.0817 | 0.0082 | 59 |" in text
    assert "| projection, W | 0.1967 | 0.067 | – |" in text
    csv = table.to_csv()
    assert '"seconds","DHR, LSAP",,,,,12\n' in csv
    assert '"seconds","projection, W"' not in csv
    assert r"PTI & 0.0817 & 0.0082 & 59 \\" in table.to_latex()
    assert table.to_latex().count(r"\end{tabular}") == 2
    with Image.open(draw("ganinverter", results)[0]) as plot:
        assert plot.width > 200
    report = write_report(results, [(table, [])], "Mine").read_text()
    assert '<td>DHR, LSAP</td><td data-value="0.0422">0.0422</td>' in report
    assert '<td data-value="nan">–</td>' in report
