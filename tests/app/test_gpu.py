"""GPUs that are lent for single calls."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch

from pti_hub import PTIPipeline
from pti_hub.app.gpu import is_lent, learner
from pti_hub.app.tuning import Learned, Report
from pti_hub.images import Photograph, read_photograph


class Lender(types.ModuleType):
    """The module of those who lend, which tells what it was asked for."""

    def __init__(self) -> None:
        super().__init__("spaces")
        self.__spec__ = importlib.machinery.ModuleSpec("spaces", None)
        self.lent: list[tuple[Callable[..., Any], int]] = []
        self.calls = 0

    def GPU(self, task: Callable[..., Any], duration: int) -> Callable[..., Any]:
        self.lent.append((task, duration))

        def call(*arguments: Any) -> Any:
            self.calls += 1
            yield from task(*arguments)

        return call


@pytest.fixture
def lender(monkeypatch: pytest.MonkeyPatch) -> Lender:
    """Somebody who lends a GPU, if the environment says so."""
    module = Lender()
    monkeypatch.setitem(sys.modules, "spaces", module)
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    return module


@pytest.fixture
def devices(pipe: PTIPipeline, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where the pipeline was moved to; it stays where it is."""
    moved: list[str] = []
    monkeypatch.setattr(pipe, "to", lambda device: moved.append(device) or pipe)
    return moved


@pytest.fixture
def picture(photograph: torch.Tensor) -> Photograph:
    return read_photograph(photograph)


def check(items: list[Report | Learned]) -> None:
    assert isinstance(items[0], Report)
    assert isinstance(items[-1], Learned)


def test_without_a_lender_it_is_learned_here(
    pipe: PTIPipeline, picture: Photograph, lender: Lender, devices: list[str]
) -> None:
    assert not is_lent()
    check(list(learner(pipe)(picture, None)))
    assert (lender.lent, lender.calls, devices) == ([], 0, [])


def test_a_lent_gpu_is_asked_for_per_call(
    pipe: PTIPipeline, picture: Photograph, lender: Lender, devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert is_lent()
    learn = learner(pipe)
    assert [seconds for _, seconds in lender.lent] == [90]
    assert (lender.calls, devices) == (0, [])
    check(list(learn(picture, None)))
    assert (lender.calls, devices) == (1, ["cuda"])


def test_the_variable_alone_lends_nothing(
    pipe: PTIPipeline, picture: Photograph, devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not is_lent()
    check(list(learner(pipe)(picture, None)))
    assert devices == []
