"""Points of pictures of tiny generators are dragged to where they are wanted."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.dragging import Case, Moves, R, deep, followed, lengths, reachable, stylegan2_case, stylegan3_case
from torch import Tensor

from pti_hub.edits import Drag, Edit
from pti_hub.edits.dragging import Point, check_moves
from pti_hub.errors import InputError
from pti_hub.generators import MobileStyleGAN, broadcast_ws


@pytest.fixture(params=["mobile", "stylegan2", "stylegan3"])
def case(request: pytest.FixtureRequest, generator: MobileStyleGAN) -> Case:
    """One of each architecture."""
    if request.param == "mobile":
        return reachable(generator, 2)
    return stylegan2_case() if request.param == "stylegan2" else stylegan3_case()


def test_a_point_comes_to_where_it_can_come(case: Case) -> None:
    move = case.moves[:1]
    (length,) = lengths(move)
    assert length > 10
    done = case.drag(move)
    (left,) = done.distances
    assert left < 0.3 * length
    assert done.arrived == [left <= 1.5]
    assert left == pytest.approx(*lengths([(done.points[0], move[0][1])]), abs=1e-3)


@pytest.mark.parametrize("make", [stylegan2_case, stylegan3_case])
def test_the_direction_takes_the_point_there_on_a_straight_way_too(make: Callable[[], Case]) -> None:
    case = make()
    (handle, target), *_ = case.moves
    done = case.drag([(handle, target)])
    assert math.dist(followed(case, done.direction.vector, handle), target) < 0.4 * math.dist(handle, target)


def test_the_direction_moves_a_share_of_the_layers(case: Case) -> None:
    done = case.drag(case.moves[:1], config=deep(num_steps=2))
    assert done.direction.space == "W+" and done.direction.name == "dragged"
    vector = done.direction.vector
    assert vector.shape == (case.generator.num_ws, 16)
    last = math.ceil(0.85 * case.generator.num_ws)
    assert not vector[last:].any()
    assert vector[0].any()
    assert (vector[:last] == vector[0]).all()


def test_the_direction_is_an_edit_like_any_other(case: Case) -> None:
    done = case.drag(case.moves[:1], config=deep(num_steps=2))
    ws = broadcast_ws(case.generator, case.w)
    edited = Edit(done.direction, 1.0).apply(ws)
    torch.testing.assert_close(edited, ws + done.direction.vector)


def test_a_drag_is_the_same_to_the_bit_each_time(case: Case) -> None:
    mask = torch.zeros(R, R, dtype=torch.bool)
    mask[10:54, 10:54] = True
    config = deep(num_steps=4)
    first = case.drag(case.moves[:1], mask=mask, config=config)
    torch.manual_seed(99)
    again = case.drag(case.moves[:1], mask=mask, config=config)
    assert first.direction.vector.any()
    assert torch.equal(first.direction.vector, again.direction.vector)
    assert (first.points, first.distances, first.arrived) == (again.points, again.distances, again.arrived)


def test_the_generator_and_the_latent_stay_as_they_are(case: Case) -> None:
    own = {name: t.clone() for name, t in case.generator.state_dict().items()}
    w = case.w.clone()
    case.drag(config=deep(num_steps=2))
    assert torch.equal(case.w, w)
    assert all(torch.equal(t, own[name]) for name, t in case.generator.state_dict().items())
    assert all(p.grad is None for p in case.generator.parameters())


def test_a_tuned_generator_is_dragged_by_its_own_features(case: Case) -> None:
    torch.manual_seed(3)
    names = [name for name, _ in case.generator.named_parameters() if not name.startswith("mapping_network")]
    own = dict(case.generator.named_parameters())
    weights = {name: own[name] + 0.05 * torch.randn_like(own[name]) for name in names}
    config = deep(num_steps=3)
    move = case.moves[:1]
    tuned = case.drag(move, weights=weights, config=config)
    assert not torch.equal(tuned.direction.vector, case.drag(move, config=config).direction.vector)
    before = {name: p.clone() for name, p in own.items()}
    with torch.no_grad():
        for name in names:
            own[name].copy_(weights[name])
    try:
        assert torch.equal(tuned.direction.vector, case.drag(move, config=config).direction.vector)
    finally:
        with torch.no_grad():
            for name in names:
                own[name].copy_(before[name])


def test_a_pivot_in_w_plus_is_dragged_too(case: Case) -> None:
    ws = broadcast_ws(case.generator, case.w)
    config = deep(num_steps=3)
    assert torch.equal(case.drag(ws=ws, config=config).direction.vector, case.drag(config=config).direction.vector)
    varied = ws + 0.2 * torch.randn(ws.shape, generator=torch.Generator().manual_seed(1))
    latents = []
    done = case.drag(ws=varied, config=config, on_step=lambda _, metrics: latents.append(metrics["ws"]))
    assert max(done.distances) <= max(lengths(case.moves))
    offsets = torch.cat(latents) - varied
    assert (offsets[:, 1:2] - offsets[:, :1]).abs().max() < 1e-5
    assert offsets.abs().max() > 1e-3


def test_each_step_is_told(case: Case) -> None:
    told: list[tuple[int, float, Tensor]] = []
    config = deep(num_steps=4, arrival=1e-6)
    done = case.drag(
        case.moves[:1],
        config=config,
        on_step=lambda i, metrics: told.append((i, float(metrics["distance"]), metrics["ws"])),
    )
    assert done.num_steps == 4
    assert [i for i, _, _ in told] == [0, 1, 2, 3]
    ws = broadcast_ws(case.generator, case.w)
    assert all(latent.shape == ws.shape and not latent.requires_grad for _, _, latent in told)
    # What is returned is the nearest of them.
    nearest, latent = min(((distance, latent) for _, distance, latent in told), key=lambda pair: pair[0])
    assert max(done.distances) == pytest.approx(nearest)
    torch.testing.assert_close(ws + done.direction.vector, latent)


def test_no_step_is_longer_than_allowed() -> None:
    case = stylegan2_case()
    latents = [broadcast_ws(case.generator, case.w)]
    config = deep(latent_step=0.05, num_steps=6)
    case.drag(config=config, on_step=lambda _, metrics: latents.append(metrics["ws"]))
    assert len(latents) == 7
    for before, after in pairwise(latents):
        assert 0 < (after - before)[0, 0].norm() <= 0.05 * float(case.generator.w_std) * 1.001


def test_a_drag_goes_no_farther_than_allowed_and_ends_there() -> None:
    case = stylegan2_case()
    far: Moves = [((26.5, 38.5), (50.0, 50.0))]
    latents = []
    config = deep(longest=0.1, num_steps=40)
    done = case.drag(far, config=config, on_step=lambda _, metrics: latents.append(metrics["ws"]))
    start = broadcast_ws(case.generator, case.w)
    most = max(float((ws - start).norm(dim=-1).max()) for ws in latents)
    assert most == pytest.approx(0.1 * float(case.generator.w_std), rel=1e-3)
    assert done.arrived == [False]
    assert done.num_steps < 40


@pytest.mark.parametrize("num_steps", [1, 3])
def test_a_drag_takes_no_more_steps_than_allowed(num_steps: int) -> None:
    far: Moves = [((10.0, 10.0), (50.0, 50.0))]
    done = stylegan2_case().drag(far, config=deep(num_steps=num_steps))
    assert done.num_steps == num_steps
    assert done.arrived == [False]
    assert done.direction.provenance == f"1 points dragged in {num_steps} steps"


def test_a_drag_ends_when_all_points_have_arrived() -> None:
    case = stylegan2_case()
    early, late = (case.drag(case.moves[:1], config=deep(arrival=arrival)) for arrival in (18.0, 3.0))
    assert 0 < early.num_steps < late.num_steps < 20
    assert early.arrived == late.arrived == [True]
    assert late.distances[0] <= 3.0 < early.distances[0] <= 18.0
    near: Moves = [((20.0, 20.0), (20.2, 20.0))]
    done = case.drag(near)
    assert (done.num_steps, done.arrived) == (0, [True])
    assert not done.direction.vector.any()


def test_a_point_on_its_target_is_held() -> None:
    case = stylegan2_case()
    (handle, target), (held, _) = case.moves
    free = case.drag([(handle, target)])
    both = case.drag([(handle, target), (held, held)], config=deep(arrival=4.0))

    def moved(done: Drag) -> float:
        return math.dist(held, followed(case, done.direction.vector, held))

    assert both.distances[0] < 0.5 * math.dist(handle, target) * 4
    assert both.distances[1] < 8
    assert moved(both) < 0.5 * moved(free)


corners = st.floats(-0.5, R - 0.5)
places = st.tuples(corners, corners)


@settings(max_examples=25)
@given(moves=st.lists(st.tuples(places, places), min_size=1, max_size=4, unique_by=lambda move: move[0]))
def test_the_result_is_never_worse_than_the_start(moves: Moves) -> None:
    case = stylegan2_case()
    if all(handle == target for handle, target in moves):
        return
    done = case.drag(moves, config=deep(num_steps=3))
    assert max(done.distances) <= max(lengths(moves)) + 1e-3
    assert len(done.points) == len(done.distances) == len(done.arrived) == len(moves)
    assert done.direction.vector.isfinite().all()
    for (_, target), point, distance in zip(moves, done.points, done.distances, strict=True):
        assert distance == pytest.approx(256 / R * math.dist(point, target), abs=1e-2)


any_point = st.tuples(st.floats(allow_nan=True), st.floats(allow_nan=True)) | places


@settings(max_examples=40)
@given(moves=st.lists(st.tuples(any_point, any_point), max_size=3), masked=st.booleans())
def test_any_points_are_dragged_or_refused(moves: Moves, masked: bool) -> None:
    mask = torch.zeros(R, R, dtype=torch.bool)
    mask[:, 20:] = True
    try:
        done = stylegan2_case().drag(moves, mask=mask if masked else None, config=deep(num_steps=1))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert all(math.isfinite(distance) for distance in done.distances)


# Masks


def change_outside(case: Case, done: Drag, mask: Tensor) -> float:
    """How much the features change where nothing is to change, beside how far the point went."""
    ws = broadcast_ws(case.generator, case.w)
    before, after = (case.maps(latent)[1] for latent in (ws, ws + done.direction.vector))
    outside = ~mask[::2, ::2]
    (handle, _), (x, y) = case.moves[0], done.points[0]
    return float((after - before)[..., outside].norm()) / math.dist(handle, (x, y))


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_what_lies_outside_the_mask_changes_less(seed: int) -> None:
    case = stylegan2_case(seed)
    mask = torch.zeros(R, R, dtype=torch.bool)
    mask[24:56, 12:44] = True
    move = case.moves[:1]
    config = deep(num_steps=8)
    free, held = case.drag(move, config=config), case.drag(move, mask=mask, config=config)
    for done in (free, held):
        assert done.distances[0] < 0.8 * lengths(move)[0]
    assert change_outside(case, held, mask) < 0.8 * change_outside(case, free, mask)


@pytest.mark.parametrize("kind", ["all", "all but one"])
def test_a_mask_that_holds_next_to_nothing(kind: str) -> None:
    case = stylegan2_case()
    mask = torch.ones(R, R, dtype=torch.bool)
    if kind != "all":
        mask[0, 0] = False
    config = deep(num_steps=3)
    masked, free = case.drag(mask=mask, config=config), case.drag(config=config)
    torch.testing.assert_close(masked.direction.vector, free.direction.vector)


@pytest.mark.parametrize(
    "place",
    [
        (-0.5, 3.0),
        (-0.5, -0.5),
        *[(63.5, 3.0), (3.0, 63.5), (63.5, 63.5)],
    ],
)
def test_a_point_on_the_edge_of_picture_and_mask(place: Point) -> None:
    check_moves([(place, (30.0, 30.0))], R, torch.ones(R, R, dtype=torch.bool))


def test_a_held_point_may_lie_outside_the_mask() -> None:
    mask = torch.zeros(R, R, dtype=torch.bool)
    mask[20:40, 20:40] = True
    check_moves([((30.0, 30.0), (33.0, 30.0)), ((5.0, 5.0), (5.0, 5.0))], R, mask)


@settings(max_examples=20)
@given(moves=st.lists(st.tuples(places, places), min_size=1, max_size=4, unique_by=lambda move: move[0]))
@example(moves=[((62.0, 62.0), (40.0, 40.0)), ((1.0, 30.0), (30.0, 30.0)), ((-0.5, 63.5), (10.0, 20.0))])
def test_points_stay_in_the_picture(moves: Moves) -> None:
    if all(handle == target for handle, target in moves):
        return
    done = stylegan2_case().drag(moves, config=deep(num_steps=6))
    assert all(-0.5 <= number <= R - 0.5 for point in done.points for number in point)
