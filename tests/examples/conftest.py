"""The scripts in examples/ import each other by name."""

from __future__ import annotations

import pytest
from support.places import EXAMPLES


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the scripts is where Python looks for modules, as when one of them is run."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
