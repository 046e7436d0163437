"""What the package warns of, told to the visitor whom it concerns."""

from __future__ import annotations

import threading

import pytest

from pti_hub.app.studio import Remarks
from pti_hub.logging import get_logger


@pytest.fixture
def remarks() -> Remarks:
    return Remarks()


def test_warnings_are_for_the_visitor_and_not_for_the_log(remarks: Remarks, capsys: pytest.CaptureFixture[str]) -> None:
    logger = get_logger("pti_hub.somewhere")
    logger.warning("before")
    with remarks.heard() as heard:
        logger.warning("smile=%d goes no further", 2)
        logger.warning("smile=%d goes no further", 2)
        logger.warning("measured", extra={"plain": "in plain words"})
        logger.error("an error")
    logger.warning("afterwards")
    assert heard == ["smile=2 goes no further", "in plain words"]
    assert capsys.readouterr().err.splitlines() == ["before", "an error", "afterwards"]


def test_whoever_listens_already_hears_it_too(remarks: Remarks) -> None:
    logger = get_logger("pti_hub.somewhere")
    with remarks.heard() as heard:
        logger.warning("first")
        with remarks.heard() as inside:
            logger.warning("second")
        logger.warning("third")
    assert heard == ["first", "second", "third"]
    assert inside is heard
    with remarks.heard() as later:
        pass
    assert later == []


def test_warnings_of_another_thread_are_not_for_this_visitor(
    remarks: Remarks, capsys: pytest.CaptureFixture[str]
) -> None:
    others: list[list[str]] = []

    def work() -> None:
        get_logger("pti_hub.somewhere").warning("to nobody")
        with remarks.heard() as heard:
            get_logger("pti_hub.somewhere").warning("to the other")
        others.append(heard)

    with remarks.heard() as heard:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert (heard, others) == ([], [["to the other"]])
    assert capsys.readouterr().err.splitlines() == ["to nobody"]
