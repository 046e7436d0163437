"""Learning rates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pti_hub.optim import learning_rate_factor


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 0.5), st.floats(0, 0.5))
def test_the_rate_rises_and_falls(t: float, up: float, down: float) -> None:
    factor = learning_rate_factor(t, up, down)
    assert 0 <= factor <= 1
    if up <= t <= 1 - down:
        assert factor == pytest.approx(1)
