"""Half precision, where it is native."""

from __future__ import annotations

import pytest
import torch

from pti_hub.optim import mixed_precision


def test_mixed_precision_only_where_it_is_native(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(4, 4)
    for native, dtype in [(True, torch.bfloat16), (False, torch.float32)]:
        monkeypatch.setattr("pti_hub.optim.precision._cpu_computes_bf16", lambda native=native: native)
        with mixed_precision(x.device):
            assert (x @ x).dtype == dtype
    with mixed_precision(torch.device("meta")):
        assert (x @ x).dtype == torch.float32
