"""Resampling and activation against their slow forms."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from pti_hub.generators.filters import activate, activate_reference, resample, resample_reference


@given(
    size=st.integers(1, 12),
    up=st.sampled_from([1, 2, 4]),
    down=st.sampled_from([1, 2, 4]),
    before=st.integers(-2, 14),
    after=st.integers(-2, 14),
    separable=st.booleans(),
)
def test_resampling_is_its_slow_form(size: int, up: int, down: int, before: int, after: int, separable: bool) -> None:
    if up > 1:
        down = 1
    random = torch.Generator().manual_seed(size)
    x = torch.randn(2, 3, 7, 9, generator=random, dtype=torch.float64).requires_grad_()
    taps = torch.randn([size] if separable else [size, size], generator=random, dtype=torch.float64)
    if min(7 * up + before + after - size, 7 * up + min(before, 0) + min(after, 0) - 1) < 0:
        return
    slow = resample_reference(x, taps, up, down, (before, after), 1.7)
    fast = resample(x, taps, up, down, (before, after), 1.7)
    torch.testing.assert_close(fast, slow)
    cotangent = torch.randn(slow.shape, generator=random, dtype=torch.float64)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, cotangent)[0] for y in (fast, slow)))


@given(
    height=st.integers(1, 300),
    clamp=st.sampled_from([None, 0.5]),
    noises=st.sampled_from([0, 1, 2]),
    biased=st.booleans(),
)
def test_activation_is_its_slow_form(height: int, clamp: float | None, noises: int, biased: bool) -> None:
    random = torch.Generator().manual_seed(height)
    x = torch.randn(2, 40, height, 16, generator=random, dtype=torch.float64).requires_grad_()
    bias = torch.randn(40, generator=random, dtype=torch.float64).requires_grad_() if biased else None
    noise = (
        torch.randn(noises, 1, height, 16, generator=random, dtype=torch.float64).requires_grad_() if noises else None
    )
    slow = activate_reference(x, bias, noise, clamp=clamp)
    fast = activate(x.clone(), bias, noise, clamp=clamp)
    assert torch.equal(fast, slow)
    cotangent = torch.randn(slow.shape, generator=random, dtype=torch.float64)
    leaves = [leaf for leaf in (x, bias, noise) if leaf is not None]
    for ours, theirs in zip(
        torch.autograd.grad(fast, leaves, cotangent), torch.autograd.grad(slow, leaves, cotangent), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        assert torch.equal(activate(x.clone(), bias, noise, clamp=clamp), slow)
