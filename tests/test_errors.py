"""What an error says."""

from __future__ import annotations

import pytest

from pti_hub import InputError, PTIError, WeightsError
from pti_hub.errors import MissingDependencyError, SaveError, one_line


@pytest.mark.parametrize("kind", [PTIError, InputError, WeightsError, MissingDependencyError, SaveError])
def test_a_message_is_one_line_that_can_be_printed_whatever_it_quotes(kind: type[PTIError]) -> None:
    assert str(kind("x²: \x1b[2J\x00\ud800\nmore")) == "x²: ?[2J?? more"
    long = str(kind(f"a file holds {'x' * 9000}; fetch it again"))
    assert long.startswith("a file holds xxx") and long.endswith("xxx; fetch it again") and len(long) < 510
    # Words with two spaces between them, as in the name of a folder, are left as they are.
    assert str(kind("my  folder")) == "my  folder"


def test_other_errors_on_one_line() -> None:
    assert one_line(KeyError("\x00\ud800")) == "'\\x00\\ud800'"
    assert one_line(ValueError("\x00 \n\ud800")) == "? ?"
    assert one_line(ValueError()) == "ValueError"
