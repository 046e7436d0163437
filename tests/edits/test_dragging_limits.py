"""What can't be dragged is refused, and which changes of a latent count as natural."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.dragging import Moves, R, lengths, stylegan2_case
from torch import Tensor

from pti_hub.edits import DragConfig, GANSpace
from pti_hub.edits.dragging import MOST_HANDLES, check_moves, latent_metric
from pti_hub.errors import InputError
from pti_hub.optim import GradientPreconditioner

A, B = (10.0, 20.0), (12.0, 20.0)


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        ([], "0 points to drag; expected 1 to 100"),
        ([((float(i % 50), float(i // 50)), A) for i in range(101)], "101 points to drag; expected 1 to 100"),
        ([(A, B), ((64.0, 3.0), B)], "point (64, 3) lies outside the face's square of 64×64 px"),
        ([(A, (3.0, -0.6))], "point (3, -0.6) lies outside the face's square of 64×64 px"),
        ([((math.nan, 3.0), A)], "point (nan, 3) lies outside"),
        ([(A, (3.0, math.nan))], "point (3, nan) lies outside"),
        ([((math.inf, 3.0), A)], "point (inf, 3) lies outside"),
        ([(A, (-math.inf, 3.0))], "point (-inf, 3) lies outside"),
        ([(A, B), (A, (13.0, 20.0))], "point (10, 20) is dragged to two places; give it one target"),
        ([(A, A), (A, B)], "point (10, 20) is dragged to two places; give it one target"),
        ([(A, A), (B, B)], "every point lies on its target; move one of them"),
    ],
)
def test_moves_that_cannot_be_made(moves: Moves, message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_moves(moves, R)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    case = stylegan2_case()
    with pytest.raises(InputError) as caught:
        case.drag(moves)
    assert str(caught.value).startswith(message)


def one_true(*shape: int) -> Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    mask.view(-1)[0] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (one_true(32, 32), "a mask of shape [32, 32]; expected 64×64 px, true where the face may change"),
        (one_true(1, 64, 64), "a mask of shape [1, 64, 64]; expected 64×64 px"),
        (one_true(64), "a mask of shape [64]; expected 64×64 px"),
        (torch.zeros(64, 64, dtype=torch.bool), "a mask that lets nothing change; expected 64×64 px"),
        (one_true(64, 64), "point (10, 20) lies outside the mask, where nothing may move"),
    ],
)
def test_masks_that_cannot_be_kept(mask: Tensor, message: str) -> None:
    with pytest.raises(InputError) as caught:
        stylegan2_case().drag([(A, B)], mask=mask)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_mask_is_read_by_rows_and_columns() -> None:
    mask = torch.zeros(R, R, dtype=torch.bool)
    mask[20, 10] = True
    check_moves([(A, B)], R, mask)
    with pytest.raises(InputError, match=r"point \(20, 10\) lies outside the mask"):
        check_moves([((20.0, 10.0), B)], R, mask)


def test_what_is_just_allowed() -> None:
    most: Moves = [((float(i % 50), float(i // 50)), A) for i in range(MOST_HANDLES)]
    check_moves(most, R)
    check_moves([((-0.5, -0.5), (63.5, 63.5))], R)
    check_moves([(A, B), (A, B)], R)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_steps": 0}, "num_steps=0; expected a whole number above zero"),
        ({"num_steps": 2.5}, "num_steps=2.5; expected a whole number above zero"),
        ({"num_steps": True}, "num_steps=True; expected a whole number above zero"),
        ({"arrival": 0.0}, "arrival=0.0; expected a number above zero"),
        ({"step_length": -1.0}, "step_length=-1.0; expected a number above zero"),
        ({"search_radius": math.inf}, "search_radius=inf; expected a number above zero"),
        ({"latent_step": math.nan}, "latent_step=nan; expected a number above zero"),
        ({"longest": 0.0}, "longest=0.0; expected a number above zero"),
        ({"error": 0}, "error=0; expected a number above zero"),
        ({"least_error": "small"}, "least_error='small'; expected a number above zero"),
        ({"naturalness": -0.1}, "naturalness=-0.1; expected a number of zero or more"),
    ],
)
def test_bad_hyper_parameters(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        DragConfig(**kwargs)
    assert str(caught.value) == f"DragConfig: {message}"


def test_a_latent_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"latent of shape \[1, 15\]"):
        stylegan2_case().drag(ws=torch.zeros(1, 15))


# The metric


def spaces(rank: int = 16) -> GANSpace:
    """A W whose components lie askew, and that has no extent along the last of them."""
    basis, _ = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(4)))
    deviations = torch.linspace(2, 0.2, 16)
    deviations[rank:] = 0
    return GANSpace(basis.T.contiguous(), deviations, 1000)


def sensitivity(num_axes: int = 6) -> GradientPreconditioner:
    random = torch.Generator().manual_seed(6)
    skewed = torch.randn(200, 16, generator=random) * torch.linspace(3, 0.1, 16)
    return GradientPreconditioner.of(skewed @ torch.randn(16, 16, generator=random), num_axes)


def test_without_a_preconditioner_the_metric_is_the_covariance() -> None:
    case = stylegan2_case()
    w = case.generator.mapping(torch.randn(20_000, 16, generator=torch.Generator().manual_seed(8)))
    metric = latent_metric(case.space, None, 10.0)
    assert (metric - torch.cov(w.T)).norm() < 0.1 * metric.norm()
    assert torch.equal(latent_metric(case.space, sensitivity(), 0.0), metric)


@pytest.mark.parametrize("rank", [16, 10])
@pytest.mark.parametrize("naturalness", [0.1, 10.0, 1000.0])
def test_the_metric_shrinks_along_what_changes_the_picture_most(rank: int, naturalness: float) -> None:
    space, seen = spaces(rank), sensitivity()
    covariance, metric = latent_metric(space, None, naturalness), latent_metric(space, seen, naturalness)
    torch.testing.assert_close(metric, metric.T, rtol=0, atol=1e-4)
    assert torch.linalg.eigvalsh(metric.double()).min() > -1e-4
    assert metric.trace() == pytest.approx(float(covariance.trace()), rel=1e-4)
    first = seen.axes[0]
    assert first @ metric @ first < first @ covariance @ first
    further = latent_metric(space, seen, 3 * naturalness)
    assert first @ further @ first < first @ metric @ first


def test_the_metric_is_the_inverse_of_what_counts() -> None:
    space, seen = spaces(), sensitivity()
    covariance = (space.components.T * space.deviations.square()) @ space.components
    f = (seen.axes.T * seen.sensitivity) @ seen.axes
    weight = 5.0 * 16 / (f @ covariance).trace()
    expected = torch.linalg.inv(torch.linalg.inv(covariance.double()) + weight * f).float()
    expected *= covariance.trace() / expected.trace()
    torch.testing.assert_close(latent_metric(space, seen, 5.0), expected, rtol=1e-3, atol=1e-4)


def test_a_preconditioner_changes_the_way_to_the_target() -> None:
    case = stylegan2_case()
    seen = GradientPreconditioner.of(torch.randn(50, 16, generator=torch.Generator().manual_seed(2)), 3)
    plain, natural = case.drag(case.moves[:1]), case.drag(case.moves[:1], preconditioner=seen)
    assert natural.distances[0] < 0.5 * lengths(case.moves)[0]
    seen_by = [
        float((seen.axes[0] @ done.direction.vector[0]).abs() / done.direction.vector[0].norm())
        for done in (plain, natural)
    ]
    assert seen_by[1] < seen_by[0]
