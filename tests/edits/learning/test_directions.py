"""Directions from labels, and from examples."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pti_hub.edits.learning import direction_between, independent_steps, learn_direction, ridge
from pti_hub.errors import InputError


def latents(count: int = 600, seed: int = 0) -> Tensor:
    """Latents of unequal variance, as in W."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, 16, generator=random) * torch.linspace(2, 0.3, 16) + 1


def test_a_linear_label_is_found() -> None:
    w, truth = latents(), torch.linspace(-1, 1, 16)
    noise = torch.randn(600, generator=torch.Generator().manual_seed(1))
    direction = learn_direction("bright", w, w @ truth + 0.5 * noise, provenance="a test")
    assert direction.space == "W"
    # One step is one standard deviation of the label.
    assert float(direction.vector @ truth) == pytest.approx(direction.metrics["label_std"], rel=0.1)
    assert 0.8 < direction.metrics["explained"] < 1
    assert direction.metrics["samples"] == 600
    assert "a test" in direction.provenance


def test_what_is_held_stays() -> None:
    w = latents()
    own, other = torch.ones(16), torch.cat([torch.ones(8), torch.zeros(8)])
    free = learn_direction("own", w, w @ own).vector
    held = learn_direction("own", w, w @ own, {"other": w @ other}).vector
    assert abs(float(held @ other)) < 0.02 * abs(float(free @ other))
    assert float(held @ own) > 0.9 * float(free @ own)


def test_labels_that_mean_the_same_cannot_be_held() -> None:
    w = latents()
    label = w @ torch.ones(16)
    with pytest.raises(InputError, match="is to change and to be held"):
        learn_direction("own", w, label, {"own": label})
    with pytest.raises(InputError, match="'own' and 'other' say the same"):
        learn_direction("own", w, label.tolist(), {"other": (3 * label).tolist()})


def test_pictures_without_a_label_are_left_out() -> None:
    w = latents()
    labels = w @ torch.ones(16)
    some = torch.where(torch.arange(600) % 3 == 0, torch.nan, labels)
    found = learn_direction("own", w, some)
    assert found.metrics["samples"] == 400
    assert F.cosine_similarity(found.vector, learn_direction("own", w, labels).vector, dim=0) > 0.99


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.ones(600), "the same in 98 % or more of 600 samples"),
        (torch.full((600,), torch.nan), "0 of 600 samples have labels"),
        (torch.randn(600, generator=torch.Generator().manual_seed(3)), "as good as nothing"),
        (torch.ones(599), r"expected \[N, w_dim\] and \[N\]"),
        (torch.ones(600, 2), r"expected \[N, w_dim\] and \[N\]"),
    ],
)
def test_labels_that_teach_nothing(labels: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        learn_direction("own", latents(), labels)
    assert "\n" not in str(caught.value)


@given(seed=st.integers(0, 1000), count=st.integers(1, 4))
def test_steps_are_independent(seed: int, count: int) -> None:
    w = latents(seed=seed) - 1
    random = torch.Generator().manual_seed(seed + 1)
    b = torch.randn(16, count, generator=random).double()
    steps = independent_steps(b, w)
    assert torch.allclose(steps @ b, torch.eye(count, dtype=torch.float64), atol=1e-6)


def test_steps_keep_to_where_latents_are_spread() -> None:
    w = latents(300) - 1
    b = torch.randn(16, 3, generator=torch.Generator().manual_seed(2)).double()
    steps, shortest = independent_steps(b, w), torch.linalg.pinv(b)
    precision = torch.linalg.inv(torch.cov(w.double().T))
    rare = [(s @ precision @ s.T).diagonal() for s in (steps, shortest)]
    assert (rare[0] < rare[1]).all()


def test_ridge_recovers_a_linear_map() -> None:
    random = torch.Generator().manual_seed(0)
    w, b = torch.randn(400, 12, generator=random), torch.randn(12, 3, generator=random)
    noise = torch.randn(400, 3, generator=random) * torch.tensor([0.0, 0.0, 100.0])
    found, explained = ridge(w, w @ b + noise)
    torch.testing.assert_close(found[:, :2].float(), b[:, :2], rtol=0.15, atol=0.05)
    assert (explained[:2] > 0.99).all()
    assert explained[2] < 0.1


def test_ridge_shrinks_what_is_noise() -> None:
    w = latents(120) - 1
    noise = torch.randn(120, 1, generator=torch.Generator().manual_seed(1))
    coefficients, explained = ridge(w, noise - noise.mean())
    assert coefficients.norm() < torch.linalg.lstsq(w.double(), (noise - noise.mean()).double()).solution.norm()
    assert explained[0] < 0.2


@pytest.mark.parametrize("shape", [(16,), (4, 16)])
def test_a_known_change_between_examples(shape: tuple[int, ...]) -> None:
    change = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    people = latents(20).reshape(20, *[1] * (len(shape) - 1), 16).expand(20, *shape)
    blurred = people + 0.3 * torch.randn(people.shape, generator=torch.Generator().manual_seed(5))
    direction = direction_between("changed", people, blurred + change)
    assert direction.vector.shape == shape
    assert F.cosine_similarity(direction.vector.flatten(), change.flatten(), dim=0) > 0.9
    assert (direction.metrics["with"], direction.metrics["without"]) == (20, 20)


@pytest.mark.parametrize(
    ("without", "with_", "message"),
    [
        (latents(2), latents(20), "20 examples with 'x' and 2 without"),
        (latents(20), latents(20), "are the same"),
        (latents(20), latents(20)[:, None].expand(-1, 4, -1), "expected latents of one generator"),
    ],
)
def test_examples_that_teach_nothing(without: Tensor, with_: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        direction_between("x", without, with_)
