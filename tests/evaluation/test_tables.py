"""Tables of means and intervals."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.evaluation import filled
from support.needs import needs_evaluation

from pti_hub.evaluation import Table

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
