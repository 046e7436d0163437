"""What is read of a folder is of one save, whatever is saved there meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from pti_hub.errors import WeightsError
from pti_hub.storage import read_json, read_whole, replaced_folder, write_json


def save(folder: Path, version: int) -> None:
    with replaced_folder(folder, "a.json") as new:
        write_json(new / "a.json", {"version": version})
        write_json(new / "b.json", {"version": version})


@pytest.mark.parametrize("saves", [0, 1, 3])
def test_a_save_in_the_middle_is_noticed(tmp_path: Path, saves: int) -> None:
    save(tmp_path / "ada", 0)
    reads = 0

    def read(folder: Path) -> list[int]:
        nonlocal reads
        reads += 1
        first = read_json(folder / "a.json")["version"]
        if reads <= saves:
            save(folder, reads)
        return [first, read_json(folder / "b.json")["version"]]

    assert read_whole(tmp_path / "ada", read) == [saves, saves]
    assert reads == saves + 1


def test_what_a_save_in_the_middle_broke_is_read_again(tmp_path: Path) -> None:
    save(tmp_path / "ada", 0)
    reads = 0

    def read(folder: Path) -> dict[str, int]:
        nonlocal reads
        reads += 1
        if reads == 1:
            save(folder, 1)
            raise KeyError("of two saves")
        return read_json(folder / "a.json")

    assert read_whole(tmp_path / "ada", read) == {"version": 1}


def test_a_folder_that_never_rests(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="changes whenever it is read; wait until nothing is saved there"):
        read_whole(tmp_path / "ada", lambda folder: save(folder, 0))


@pytest.mark.parametrize("name", ["ada", "nowhere"])
def test_what_is_damaged_is_said_at_once(tmp_path: Path, name: str) -> None:
    save(tmp_path / "ada", 0)
    reads = []

    def read(folder: Path) -> None:
        reads.append(folder)
        raise KeyError("damaged")

    with pytest.raises(KeyError, match="damaged"):
        read_whole(tmp_path / name, read)
    assert len(reads) == 1
