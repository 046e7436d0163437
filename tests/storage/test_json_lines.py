"""Rows that outlive a kill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pti_hub.errors import SaveError, WeightsError
from pti_hub.storage import append_row, read_rows, replace_rows

ROWS = [{"image": "a", "mse": 0.1}, {"image": "ä\n☺", "mse": None}, {"image": "c", "groups": ["x", "y"]}]


def test_rows_are_read_in_the_order_they_were_added(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    assert read_rows(path) == []
    for i, row in enumerate(ROWS, 1):
        append_row(path, row)
        assert read_rows(path) == ROWS[:i]
    assert path.read_bytes().count(b"\n") == len(ROWS)


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    first, second = (json.dumps(row, ensure_ascii=False).encode() for row in ROWS[:2])
    for length in range(1, len(second)):
        path.write_bytes(first + b"\n" + second[:length])
        assert read_rows(path) == ROWS[:1]
        # The work goes on: the cut line is in the middle now, and swallows nothing.
        append_row(path, ROWS[2])
        assert read_rows(path) == [ROWS[0], ROWS[2]]


def test_a_line_that_only_lacks_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROWS[0]))
    assert read_rows(path) == ROWS[:1]
    append_row(path, ROWS[1])
    assert read_rows(path) == ROWS[:2]


@pytest.mark.parametrize("damaged", ['"image": "b"}', '{"image": "b",,}', "{b}", "[" * 100_000 + "}"])
def test_another_damaged_line_is_named(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"image": "a"}}\n{damaged}\n{{"image": "c"}}\n')
    with pytest.raises(WeightsError, match=r"rows\.jsonl, line 2 is damaged; delete that line") as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)


def test_the_rows_of_a_file_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for row in ROWS:
        append_row(path, row)
    replace_rows(path, ROWS[:0:-1])
    assert read_rows(path) == ROWS[:0:-1]
    append_row(path, ROWS[0])
    assert read_rows(path) == [*ROWS[:0:-1], ROWS[0]]
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "rows.jsonl"):
        with pytest.raises(SaveError, match="can't write"):
            append_row(path, ROWS[0])
        with pytest.raises(SaveError, match="can't write"):
            replace_rows(path, ROWS)


def test_a_name_that_is_no_text_comes_back(tmp_path: Path) -> None:
    append_row(tmp_path / "rows.jsonl", {"image": "\udcff.png"})
    assert read_rows(tmp_path / "rows.jsonl") == [{"image": "\udcff.png"}]
