"""Points are found again in features that move in a known way."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pti_hub.edits.tracking import NEIGHBOURHOOD, PointTracker

SIZE = 32

halves = st.integers(-6, 6).map(lambda n: n / 2)
inside = st.floats(7, SIZE - 8, width=32)


def field(shift: Tensor, sizes: tuple[int, ...] = (16, SIZE), seed: int = 0) -> list[Tensor]:
    """Waves of at least 9 px that are moved by a shift `[2]` in pixels of the largest map, 48 channels of each size."""
    random = torch.Generator().manual_seed(seed)
    maps = []
    for size in sizes:
        frequencies = 3.5 * (2 * torch.rand(48, 4, 2, generator=random) - 1)  # per width of the picture
        phases, heights = 2 * math.pi * torch.rand(48, 4, generator=random), torch.randn(48, 4, generator=random)
        place = (torch.arange(size) + 0.5) / size
        x, y = (place - shift[i] / sizes[-1] for i in range(2))
        angles = frequencies[..., 0, None, None] * x + frequencies[..., 1, None, None] * y[:, None]  # [48, 4, S, S]
        waves = torch.cos(2 * math.pi * angles + phases[..., None, None])
        maps.append((heights[..., None, None] * waves).sum(1)[None])
    return maps


STILL = torch.zeros(2)


@settings(max_examples=40)
@given(x=inside, y=inside, across=halves, down=halves, seed=st.integers(0, 20))
def test_a_shift_is_found_to_a_fraction_of_a_pixel(x: float, y: float, across: float, down: float, seed: int) -> None:
    points, shift = torch.tensor([[x, y]]), torch.tensor([across, down])
    tracker = PointTracker(field(STILL, seed=seed), points)
    found = tracker.find(field(shift, seed=seed), points, 5)
    assert (found - points - shift).abs().max() < 0.25


def test_several_points_are_found_as_each_alone() -> None:
    points = torch.tensor([[8.0, 9.0], [20.3, 11.6], [15.5, 22.0]])
    moved = field(torch.tensor([1.5, -2.0]))
    together = PointTracker(field(STILL), points).find(moved, points, 3)
    alone = [PointTracker(field(STILL), point[None]).find(moved, point[None], 3) for point in points]
    torch.testing.assert_close(together, torch.cat(alone))


@settings(max_examples=40)
@given(
    x=st.integers(0, SIZE - 1),
    y=st.integers(0, SIZE - 1),
    radius=st.integers(1, 4),
    across=st.floats(-12, 12),
    down=st.floats(-12, 12),
)
def test_a_point_is_sought_within_the_radius_alone(x: int, y: int, radius: int, across: float, down: float) -> None:
    points = torch.tensor([[float(x), float(y)]])
    tracker = PointTracker(field(STILL), points)
    found = tracker.find(field(torch.tensor([across, down])), points, radius)
    assert (found - points).abs().max() <= radius


def test_a_copy_of_a_point_without_its_surroundings_is_not_the_point() -> None:
    points, shift = torch.tensor([[14.0, 16.0]]), torch.tensor([2.0, 0.0])
    still, moved = field(STILL), field(shift)
    # The point grows anew 4 px to the left, in every detail, and loses some where it really is.
    for was, now in zip(still, moved, strict=True):
        scale = was.shape[-1] / SIZE
        (x, y), to_left = ((points[0] + 0.5) * scale - 0.5).tolist(), round(4 * scale)
        rows, columns = (slice(math.floor(c) - 1, math.ceil(c) + 2) for c in (y, x))
        now[..., rows, columns.start + to_left // 2 : columns.stop + to_left // 2] *= 0.9
        now[..., rows, columns.start - to_left : columns.stop - to_left] = was[..., rows, columns]
    tracker = PointTracker(still, points)
    copy, place = torch.tensor([[10.0, 16.0]]), points + shift
    near = [
        (tracker.patches(moved, p, NEIGHBOURHOOD) - tracker.patches(still, points, NEIGHBOURHOOD))
        for p in (copy, place)
    ]
    assert near[0].norm() < near[1].norm()
    assert (tracker.find(moved, points, 6) - place).norm() < 1.5


def test_a_point_is_sought_around_the_guess() -> None:
    points, shift = torch.tensor([[10.0, 12.0]]), torch.tensor([8.0, 6.5])
    tracker, moved = PointTracker(field(STILL), points), field(shift)
    assert (tracker.find(moved, points + 7, 2) - points - shift).abs().max() < 0.2
    assert (tracker.find(moved, points, 2) - points - shift).abs().max() > 4


@pytest.mark.parametrize("place", [(0, 0), (0, 15), (31, 15), (16, 0), (16, 31), (31, 31), (0, 31), (-0.5, 31.5)])
def test_points_at_the_border(place: tuple[float, float]) -> None:
    points = torch.tensor([place], dtype=torch.float)
    tracker = PointTracker(field(STILL), points)
    still = tracker.find(field(STILL), points, 3)
    assert (still.clamp(0, 31) - points.clamp(0, 31)).abs().max() < 0.3
    inwards = 2 * torch.sign(15.5 - points[0])
    moved = tracker.find(field(inwards), points, 5)
    # What lies beyond the border was not known.
    assert (moved - points - inwards).abs().max() < 1


def test_points_do_not_move_as_it_stands() -> None:
    points = torch.tensor([[8.0, 9.0], [20.25, 11.5], [0.0, 31.0]])
    tracker = PointTracker(field(STILL), points)
    assert torch.equal(tracker.motion(field(STILL), points), torch.zeros(3, 2))


@settings(max_examples=40)
@given(x=inside, y=inside, across=st.floats(-1, 1), down=st.floats(-1, 1), seed=st.integers(0, 20))
def test_the_motions_derivative_is_that_of_the_shift(x: float, y: float, across: float, down: float, seed: int) -> None:
    points, way = torch.tensor([[x, y]]), torch.tensor([across, down])
    tracker = PointTracker(field(STILL, seed=seed), points)
    time = torch.zeros((), requires_grad=True)
    motion = tracker.motion(field(time * way, seed=seed), points)[0]
    slope = torch.stack([torch.autograd.grad(number, [time], retain_graph=True)[0] for number in motion])
    assert (slope - way).norm() < 0.2 * way.norm() + 1e-4
    # A small step along the way is where the point is then found.
    found = tracker.find(field(0.4 * way, seed=seed), points, 2)
    assert (points + 0.4 * slope - found).abs().max() < 0.3


def test_the_motion_is_that_of_the_place_it_is_asked_for() -> None:
    points, shift = torch.tensor([[12.0, 14.0]]), torch.tensor([2.0, -1.0])
    tracker = PointTracker(field(STILL), points)
    # The shift grows towards the right, so points there move farther.
    stretch = torch.zeros((), requires_grad=True)
    columns = torch.arange(SIZE) / SIZE
    maps = field(shift)
    maps = [m + stretch * torch.gradient(m, dim=3)[0] * -columns[:: SIZE // m.shape[3]] for m in maps]
    motion = tracker.motion(maps, torch.tensor([[8.0, 16.0], [24.0, 16.0]]))
    left, right = (torch.autograd.grad(row[0], [stretch], retain_graph=True)[0] for row in motion)
    assert 2 < right / left < 4.5


def test_maps_of_two_sizes_lie_over_the_same_picture() -> None:
    ramps = []
    for size in (16, SIZE):
        place = (torch.arange(size) + 0.5) / size
        ramps.append(torch.stack([place.expand(size, size), place[:, None].expand(size, size)])[None])
    points = torch.tensor([[10.0, 20.0], [7.25, 9.5], [24.0, 3.5]])
    tracker = PointTracker(ramps, points)
    coarse, fine = tracker.patches(ramps, points, NEIGHBOURHOOD).reshape(3, 2, 9, 2).unbind(1)
    for patches, gain, size in zip((coarse, fine), tracker.gains, (16, SIZE), strict=True):
        # Right of the centre is a pixel of that map further, and so is below.
        places = patches / gain
        torch.testing.assert_close(places[:, 4], (points + 0.5) / SIZE)
        torch.testing.assert_close(places[:, 5] - places[:, 4], torch.tensor([[1 / size, 0.0]]).expand(3, -1))
        torch.testing.assert_close(places[:, 7] - places[:, 4], torch.tensor([[0.0, 1 / size]]).expand(3, -1))


@pytest.mark.parametrize("sizes", [(16,), (32,), (64,), (8, 32), (16, 64)])
def test_the_same_place_is_found_on_maps_of_any_size(sizes: tuple[int, ...]) -> None:
    largest = sizes[-1]
    points = (torch.tensor([[14.0, 13.0]]) + 0.5) * largest / SIZE - 0.5
    shift = torch.tensor([3.0, -2.0]) * largest / SIZE
    found = PointTracker(field(STILL, sizes), points).find(field(shift, sizes), points, 8)
    assert (found - points - shift).abs().max() < 0.3


def test_each_map_counts_the_same_whatever_its_scale() -> None:
    points, shift = torch.tensor([[12.0, 18.0]]), torch.tensor([1.5, 2.0])
    other = torch.tensor([-1.0, 0.0])  # The maps contradict each other.

    def found(scale: float) -> Tensor:
        before, after = field(STILL), [field(other)[0], field(shift)[1]]
        before[0], after[0] = scale * before[0], scale * after[0]
        return PointTracker(before, points).find(after, points, 4)

    torch.testing.assert_close(found(100.0), found(1.0), rtol=0, atol=1e-3)
    torch.testing.assert_close(found(0.01), found(1.0), rtol=0, atol=1e-3)


def test_half_precision_maps_are_tracked_too() -> None:
    points, shift = torch.tensor([[12.0, 18.0]]), torch.tensor([1.5, 2.0])
    maps = [[m.bfloat16() for m in field(s)] for s in (STILL, shift)]
    tracker = PointTracker(maps[0], points)
    found = tracker.find(maps[1], points, 4)
    assert found.dtype == torch.float32
    assert (found - points - shift).abs().max() < 0.2
