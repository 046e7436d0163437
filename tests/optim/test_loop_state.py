"""What a loop changes, its best so far, and where it stands after a kill."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pti_hub.errors import WeightsError
from pti_hub.optim import LoopCheckpoint, LoopState, adam_state, restore_adam
from pti_hub.optim.loop_state import DIVERGED


def test_a_resumed_optimiser_is_the_same_whatever_the_memory_format() -> None:
    weights = [torch.randn(4, 6, 3, 3, generator=torch.Generator().manual_seed(i)) for i in range(2)]

    def begin() -> tuple[list[Tensor], torch.optim.Adam]:
        ours = [weights[0].clone(memory_format=torch.channels_last), weights[1].clone()]
        return ours, torch.optim.Adam([w.requires_grad_() for w in ours], lr=0.1, fused=True)

    def step(ours: list[Tensor], optimizer: torch.optim.Adam) -> None:
        sum((w**3).sum() for w in ours).backward()  # type: ignore[union-attr]
        optimizer.step()
        optimizer.zero_grad()

    ours, optimizer = begin()
    for _ in range(3):
        step(ours, optimizer)
    kept = {name: t.clone().contiguous() for name, t in adam_state(optimizer).items()}
    theirs, other = begin()
    with torch.no_grad():
        for a, b in zip(theirs, ours, strict=True):
            a.copy_(b)
    restore_adam(other, kept)
    for _ in range(3):
        step(ours, optimizer)
        step(theirs, other)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def begin(seed: int = 0, name: str = "w") -> LoopState:
    """A loop that follows random numbers."""
    learned = {name: torch.zeros(4, requires_grad=True)}
    return LoopState(learned, torch.optim.Adam(learned.values(), lr=0.1), torch.Generator().manual_seed(seed))


def walk(state: LoopState, steps: int) -> None:
    """Takes steps, each towards a place of its own, and offers what is learned."""
    (w,) = state.learned.values()
    for _ in range(steps):
        loss = (w - torch.randn(4, generator=state.random)).square().sum()
        state.offer(loss.item())
        state.optimizer.zero_grad()
        loss.backward()
        state.optimizer.step()


def test_the_best_is_a_copy_of_what_gave_the_least_loss() -> None:
    state = begin()
    assert torch.equal(state.best["w"], torch.zeros(4))
    for place, loss, best in ((1.0, 2.0, 1.0), (2.0, 3.0, 1.0), (3.0, math.nan, 1.0), (4.0, 1.5, 4.0), (5.0, 1.5, 4.0)):
        with torch.no_grad():
            state.learned["w"].fill_(place)
        state.offer(loss)
        assert torch.equal(state.best["w"], torch.full((4,), best))
    assert state.best_loss == 1.5
    assert not state.best["w"].requires_grad


def test_what_has_diverged() -> None:
    state = begin()
    # Nothing is known yet to compare with.
    assert [state.has_diverged(loss) for loss in (1e30, math.inf, math.nan)] == [False, False, True]
    state.offer(2.0)
    assert [state.has_diverged(loss) for loss in (2 * DIVERGED, 2.1 * DIVERGED, math.inf, math.nan)] == [
        *(False, True, True, True)
    ]


def test_a_resumed_loop_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, cut, resumed = begin(), begin(), begin(seed=9)
    walk(whole, 7)
    walk(cut, 4)
    checkpoint = LoopCheckpoint(tmp_path / "state.safetensors")
    cut.write(checkpoint, step=4, turn=11)
    with torch.no_grad():
        resumed.learned["w"].fill_(5)
    assert resumed.resume(checkpoint, "turn", "step") == [11, 4]
    walk(resumed, 3)
    assert whole.best_loss == resumed.best_loss
    for ours, theirs in (
        (whole.learned, resumed.learned),
        (whole.best, resumed.best),
        (adam_state(whole.optimizer), adam_state(resumed.optimizer)),
    ):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(whole.random.get_state(), resumed.random.get_state())


def test_where_there_is_nothing_to_resume_a_loop_begins(tmp_path: Path) -> None:
    state, fresh = begin(), begin()
    for checkpoint in (None, LoopCheckpoint(tmp_path / "none.safetensors")):
        assert state.resume(checkpoint, "step", "turn") == [0, 0]
    assert state.best_loss == math.inf
    assert torch.equal(state.random.get_state(), fresh.random.get_state())


def test_the_state_of_another_loop_is_refused(tmp_path: Path) -> None:
    checkpoint = LoopCheckpoint(tmp_path / "state.safetensors")
    begin(name="v").write(checkpoint, step=3)
    for state, counter in ((begin(), "step"), (begin(name="v"), "turn")):
        with pytest.raises(WeightsError, match=r"state\.safetensors .*; delete it to do that part") as caught:
            state.resume(checkpoint, counter)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("others", [{}, {"a": torch.eye(2)}, {"a": torch.eye(2), "b": torch.eye(2)}])
def test_what_is_fixed_comes_from_the_file_and_must_be_the_same_things(
    others: dict[str, Tensor], tmp_path: Path
) -> None:
    def fixed(**tensors: Tensor) -> LoopState:
        learned = {"w": torch.zeros(4, requires_grad=True)}
        return LoopState(learned, torch.optim.Adam(learned.values()), torch.Generator(), tensors)

    checkpoint = LoopCheckpoint(tmp_path / "state.safetensors")
    fixed(a=torch.ones(2, 2)).write(checkpoint, step=3)
    state = fixed(**others)
    if others.keys() == {"a"}:
        assert state.resume(checkpoint, "step") == [3]
        assert torch.equal(state.fixed["a"], torch.ones(2, 2))
    else:
        with pytest.raises(WeightsError, match="delete it"):
            state.resume(checkpoint, "step")


@pytest.mark.parametrize("name", ["now.w", "best.w", "adam.0.exp_avg", "adam.0.exp_avg_sq", "adam.0.step"])
@pytest.mark.parametrize("shape", [None, (1,), (2, 2), (3,)])
def test_what_does_not_fit_is_refused_before_a_step_is_taken(
    name: str, shape: tuple[int, ...] | None, tmp_path: Path
) -> None:
    state = begin()
    walk(state, 2)
    checkpoint = LoopCheckpoint(tmp_path / "state.safetensors")
    state.write(checkpoint, step=2)
    kept = checkpoint.read()
    del kept[name]
    checkpoint.write(kept if shape is None else {**kept, name: torch.ones(shape)})
    with pytest.raises(WeightsError, match="delete it to do that part"):
        begin().resume(checkpoint, "step")
