"""Files that are whole or not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pti_hub.errors import SaveError
from pti_hub.storage import PARTIAL, check_replaceable, read_json, replaced_file, write_json


def test_a_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with replaced_file(path) as partial:
        partial.write_text("new")
        assert partial.match(PARTIAL)
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    old, none = tmp_path / "old.txt", tmp_path / "none.txt"
    old.write_text("old")
    for path in (old, none):
        with pytest.raises(ValueError, match="half way"), replaced_file(path) as partial:
            partial.write_text("half a file")
            raise ValueError("half way")
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("place", ["nowhere/notes.txt", "folder"])
def test_a_place_that_can_not_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    message = r"can't write .*; make room, or give a place that can be written"
    with pytest.raises(SaveError, match=message) as caught, replaced_file(tmp_path / place) as partial:
        partial.write_text("new")
    assert str(tmp_path / place) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]
    assert not any((tmp_path / "folder").iterdir())


def test_a_name_that_is_too_long_for_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"can't write .*; make room"):
        check_replaceable(tmp_path / ("a" * 300), "kind.json")


FULL_DISK = """
import resource, signal, sys
from pti_hub.errors import SaveError
from pti_hub.storage import write_text
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_text(sys.argv[1], "x" * 5000)
except SaveError as error:
    assert "\\n" not in str(error), error
    sys.exit(42)
"""


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], check=False)
    assert done.returncode == 42
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# Names of files that are no UTF-8 have such characters in Python.
@pytest.mark.parametrize("text", ["\udcff.jpg", "a\ud800b", "\\\udc80", 'ä"\n\udfff'])
def test_a_lone_surrogate_can_be_read_back(tmp_path: Path, text: str) -> None:
    content = {"names": [text], text: {"ä": 1}}
    write_json(tmp_path / "names.json", content)
    assert read_json(tmp_path / "names.json") == content
