"""Photographs as they are streamed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.needs import needs_evaluation

from pti_hub import InputError
from pti_hub.evaluation import open_photographs

pytestmark = needs_evaluation


def test_a_folder_is_streamed_and_a_damaged_picture_named(photos: Path) -> None:
    found = list(open_photographs(photos))
    assert [photograph.name for photograph in found] == ["a.png", "b.png", "c.png"]
    assert found[0].image is not None
    assert found[0].image.size == (200, 200)
    assert found[1].image is None
    assert found[1].problem
    assert [p.name for p in open_photographs(photos, count=1)] == ["a.png"]


def test_pictures_of_one_name_are_told_apart(photos: Path) -> None:
    (photos / "more").mkdir()
    shutil.copy(photos / "a.png", photos / "more" / "a.png")
    assert [p.name for p in open_photographs(photos)] == ["a.png", "b.png", "c.png", "more/a.png"]


def test_data_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        list(open_photographs(tmp_path / "empty"))
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "rows.csv").write_text("name,age\nada,36\n")
    with pytest.raises(InputError, match="table"):
        list(open_photographs(tmp_path / "table"))


def test_a_column_that_is_not_there(photos: Path) -> None:
    with pytest.raises(InputError, match=r"has the columns image, of which image hold pictures; 'photo' was asked for"):
        list(open_photographs(photos, column="photo"))
