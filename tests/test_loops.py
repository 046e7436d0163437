"""What keeps the hot loops quick: memory that is kept, and half precision where it is native."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from pti_hub.loops import mixed_precision, reused_memory


def page_faults() -> int:
    """Faults while a block of 80 MB is made and freed three times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        torch.ones(20_000_000).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives large blocks back")
def test_freed_memory_is_kept_inside_only() -> None:
    outside = page_faults()
    with reused_memory():
        with reused_memory():
            # The first blocks are new ones, and where they are put depends on what the process did before.
            nested = min(page_faults() for _ in range(4))
        inside = page_faults()
    after = page_faults()
    assert max(nested, inside) < 0.1 * outside
    assert after > 0.5 * outside


def test_an_error_ends_the_context() -> None:
    with pytest.raises(RuntimeError, match="x"), reused_memory():
        raise RuntimeError("x")
    with reused_memory():
        torch.ones(10)


def test_mixed_precision_only_where_it_is_native(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(4, 4)
    for native, dtype in [(True, torch.bfloat16), (False, torch.float32)]:
        monkeypatch.setattr("pti_hub.loops._cpu_computes_bf16", lambda native=native: native)
        with mixed_precision(x.device):
            assert (x @ x).dtype == dtype
    with mixed_precision(torch.device("meta")):
        assert (x @ x).dtype == torch.float32
