"""The scripts in examples/ import each other by name."""

from __future__ import annotations

import pytest
from support.places import EXAMPLES


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders of the scripts are where Python looks for modules, as when one of them is run."""
    for folder in (EXAMPLES, EXAMPLES / "shipped_edits"):
        monkeypatch.syspath_prepend(str(folder))
