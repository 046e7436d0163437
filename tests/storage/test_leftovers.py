"""What killed processes leave, and who removes it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from pti_hub.errors import InputError
from pti_hub.storage import (
    atomic,
    check_replaceable,
    is_folder,
    leftovers,
    remove_leftovers,
    replaced_file,
    replaced_folder,
    write_text,
)

MARKER = "kind.json"

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill(work: Callable[[], object]) -> None:
    """Do something in a process that is killed, at the latest after it."""
    if (pid := os.fork()) == 0:
        try:
            work()
            die()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def save(folder: Path, content: str, then: Callable[[], object] = lambda: None) -> None:
    with replaced_folder(folder, MARKER) as new:
        write_text(new / MARKER, content)
        then()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@forks
def test_the_next_file_takes_away_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"

    def half() -> None:
        with replaced_file(path) as partial:
            partial.write_text("half")
            die()

    kill(half)
    assert len(names(tmp_path)) == 2
    write_text(path, "whole")
    assert path.read_text() == "whole"
    assert names(tmp_path) == {"notes.txt"}


@forks
def test_the_next_folder_takes_away_what_killed_ones_left(tmp_path: Path) -> None:
    save(tmp_path / "ada", "old")
    # One inside the other, so that the second has a name of its own.
    kill(lambda: save(tmp_path / "ada", "half", lambda: save(tmp_path / "ada", "half", die)))
    assert len(names(tmp_path)) == 5
    assert (tmp_path / "ada" / MARKER).read_text() == "old"
    save(tmp_path / "ada", "new")
    assert (tmp_path / "ada" / MARKER).read_text() == "new"
    assert names(tmp_path) == {"ada"}


@forks
@pytest.mark.parametrize("exchanges", [True, False])
def test_what_another_process_writes_right_now_stays(
    tmp_path: Path, exchanges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:
        monkeypatch.setattr(atomic, "_exchange", lambda a, b: False)
    (started, starts), (waits, goes_on) = os.pipe(), os.pipe()
    if (pid := os.fork()) == 0:
        try:
            save(tmp_path / "ada", "slow", lambda: (os.write(starts, b"!"), os.read(waits, 1)))
            os._exit(0)
        finally:
            os._exit(1)
    os.read(started, 1)
    save(tmp_path / "ada", "quick")
    remove_leftovers(tmp_path)
    assert len(names(tmp_path)) == 3
    os.write(goes_on, b"!")
    assert os.waitpid(pid, 0)[1] == 0
    assert (tmp_path / "ada" / MARKER).read_text() == "slow"
    assert names(tmp_path) == {"ada"}


def test_another_process_may_be_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def late(path: Path, target: Path) -> Path:
        monkeypatch.undo()
        save(tmp_path / "ada", "quick")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    # A process that was suspended keeps its lock.
    monkeypatch.setattr(leftovers, "_PATIENCE", 0.1)
    save(tmp_path / "ada", "slow")
    assert (tmp_path / "ada" / MARKER).read_text() == "slow"
    assert names(tmp_path) == {"ada"}


@forks
@pytest.mark.parametrize("exchanges", [True, False])
def test_processes_that_save_in_the_same_place(
    tmp_path: Path, exchanges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:
        monkeypatch.setattr(atomic, "_exchange", lambda a, b: False)
    save(tmp_path / "ada", "first")
    (tmp_path / "ada" / "mine.txt").write_text("mine")
    pids = []
    for content in ("one", "two", "three"):
        if (pid := os.fork()) == 0:
            try:
                for _ in range(30):
                    save(tmp_path / "ada", content)
                os._exit(0)
            finally:
                os._exit(1)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    assert (tmp_path / "ada" / MARKER).read_text() in ("one", "two", "three")
    assert (tmp_path / "ada" / "mine.txt").read_text() == "mine"
    assert names(tmp_path) == {"ada"}


@forks
def test_a_kill_after_the_last_file_leaves_its_lock(tmp_path: Path) -> None:
    write_text(tmp_path / "notes.txt", "notes")
    (tmp_path / ".0123456789abcdef.lock").touch()

    def wait_in_turn() -> None:
        with leftovers.in_turn(tmp_path / "ada"):
            die()

    kill(wait_in_turn)
    assert len(names(tmp_path)) == 3
    remove_leftovers(tmp_path)
    assert names(tmp_path) == {"notes.txt"}
    remove_leftovers(tmp_path / "nowhere")


def test_two_files_of_one_name_at_once(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 255)
    with replaced_file(path) as slow:
        slow.write_text("slow")
        write_text(path, "quick")
        assert slow.read_text() == "slow"
    assert path.read_text() == "slow"
    assert names(tmp_path) == {path.name}


@pytest.fixture
def between_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a user's file in it, after a kill between the two renames of a save."""
    folder = tmp_path / "ada"
    save(folder, "old")
    (folder / "mine.txt").write_text("mine")
    rename = Path.rename

    def kills(path: Path, target: Path) -> Path:
        if path.name.endswith(".new"):
            die()
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_exchange", lambda a, b: False)
        patch.setattr(Path, "rename", kills)
        kill(lambda: save(folder, "new"))
    assert len(names(tmp_path)) == 4
    assert not folder.exists()
    return folder


@forks
@pytest.mark.parametrize("find", [is_folder, lambda folder: check_replaceable(folder, MARKER)])
def test_a_folder_that_lost_its_name_is_found(between_renames: Path, find: Callable[[Path], object]) -> None:
    find(between_renames)
    assert (between_renames / MARKER).read_text() == "old"
    assert (between_renames / "mine.txt").read_text() == "mine"
    assert names(between_renames.parent) == {"ada"}


@forks
def test_a_save_keeps_the_files_of_a_folder_that_lost_its_name(between_renames: Path) -> None:
    save(between_renames, "newer")
    assert (between_renames / MARKER).read_text() == "newer"
    assert (between_renames / "mine.txt").read_text() == "mine"
    assert names(between_renames.parent) == {"ada"}


@forks
def test_a_folder_is_not_removed_because_something_else_has_its_name(between_renames: Path) -> None:
    between_renames.mkdir()
    (between_renames / MARKER).write_text("another")
    save(between_renames, "newer")
    (old,) = between_renames.parent.glob(".ada.*.old")
    assert (old / "mine.txt").read_text() == "mine"
    # Once the name is free, the folder gets it back.
    between_renames.rename(between_renames.with_name("another"))
    assert is_folder(between_renames)
    assert (between_renames / "mine.txt").read_text() == "mine"
    assert names(between_renames.parent) == {"ada", "another"}


def test_what_lies_hidden_beside_it_and_is_not_ours_stays(tmp_path: Path) -> None:
    others = {
        ".ada.old",
        ".ada.0123456789.new",
        ".adam.01234567.new",
        ".ada.01234567.lock",
        ".lock",
        "0123456789abcdef.partial",
    }
    for name in others:
        (tmp_path / name).mkdir()
    save(tmp_path / "ada", "new")
    write_text(tmp_path / "notes.txt", "notes")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == {"ada", "notes.txt", *others}


@forks
def test_leftovers_inside_a_folder_are_not_carried_over(tmp_path: Path) -> None:
    folder = tmp_path / "ada"
    save(folder, "old")
    kill(lambda: save(folder / "inside", "half", die))
    assert len(names(folder)) == 3
    save(folder, "new")
    assert names(folder) == {MARKER}


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **keywords: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    save(tmp_path / "ada", "slow", lambda: save(tmp_path / "ada", "quick"))
    assert (tmp_path / "ada" / MARKER).read_text() == "slow"
    assert names(tmp_path) == {"ada"}


def test_places_that_have_no_hidden_names_beside_them() -> None:
    assert is_folder("/")
    assert not is_folder("a\0b")
    with pytest.raises(InputError, match="holds something else"):
        save(Path("/"), "new")
