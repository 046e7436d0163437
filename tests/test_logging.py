"""What the package tells while it works."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import pti_hub
from pti_hub import InputError

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


@pytest.fixture(autouse=True)
def _verbosity() -> Iterator[None]:
    """The verbosity is the same afterwards."""
    before = pti_hub.logging.get_verbosity()
    yield
    pti_hub.logging.set_verbosity(before)


@pytest.mark.parametrize("name", list(LEVELS))
def test_the_least_level_that_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    getattr(pti_hub.logging, f"set_verbosity_{name}")()
    assert pti_hub.logging.get_verbosity() == LEVELS[name]
    logger = pti_hub.logging.get_logger("pti_hub.somewhere")
    for level in LEVELS:
        getattr(logger, level)("of level %s", level)
    told = capsys.readouterr()
    assert told.err.splitlines() == [f"of level {level}" for level in LEVELS if LEVELS[level] >= LEVELS[name]]
    assert told.out == ""


@pytest.mark.parametrize("level", [True, None, "info", 20.0])
def test_a_level_that_is_none(level: Any) -> None:
    before = pti_hub.logging.get_verbosity()
    with pytest.raises(InputError, match=r"expected a level such as logging\.INFO"):
        pti_hub.logging.set_verbosity(level)
    assert pti_hub.logging.get_verbosity() == before


NEW_PROCESS = """
import pti_hub
for level in ("debug", "info", "warning", "error"):
    getattr(pti_hub.logging.get_logger("pti_hub.somewhere"), level)(level)
print(pti_hub.logging.get_verbosity())
"""


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, ["warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("ERROR", ["error"]),
        ("loud", ["warning", "error"]),
    ],
)
def test_the_environment_decides_in_a_new_process(value: str | None, told: list[str]) -> None:
    environment = {key: text for key, text in os.environ.items() if key != "PTI_HUB_VERBOSITY"}
    if value is not None:
        environment["PTI_HUB_VERBOSITY"] = value
    run = subprocess.run(
        [sys.executable, "-c", NEW_PROCESS], env=environment, check=True, capture_output=True, text=True
    )
    assert run.stdout == f"{LEVELS[told[0]]}\n"
    assert [line for line in run.stderr.splitlines() if line in LEVELS] == told
