"""Two folders of results, photograph by photograph."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.evaluation import filled
from support.needs import needs_evaluation

from pti_hub import InputError
from pti_hub.evaluation import Comparison, Results

pytestmark = needs_evaluation


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
