"""Points of a face that are to be dragged: as text, and drawn onto its picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from pti_hub.edits import parse_moves
from pti_hub.edits.dragging import Point
from pti_hub.errors import InputError

MOST_POINTS = 10
"""Most points that are dragged at once: each costs 0.2 s per step on a CPU, and a step can't be stopped."""

# Blue and orange that colour-blind people tell apart (Okabe and Ito), between a dark and a light line: one of the two
# is seen on any skin.
_HANDLE, _TARGET, _LIGHT, _DARK = (0, 114, 178), (230, 159, 0), (255, 255, 255), (0, 0, 0)


def read_points(text: str) -> list[Point]:
    """Handles and targets by turns, from text as `pti_hub.edits.parse_moves` reads it; the last may lack its target.

    Raises:
        InputError: It is written otherwise, or there are more than `MOST_POINTS` handles.
    """
    text = text.strip()
    if not text:
        return []
    handle = text[text.rfind(";") + 1 : -1] if text.endswith(">") else ""
    points = [point for move in parse_moves(text + handle) for point in move]
    if len(points) > 2 * MOST_POINTS:
        raise InputError(f"{len(points) // 2} points to drag; expected at most {MOST_POINTS} at once")
    return points[:-1] if handle else points


def write_points(points: Sequence[Point]) -> str:
    """The inverse of `read_points`."""
    written = [f"{x:.8g},{y:.8g}" for x, y in points]
    return "; ".join(">".join([handle, *written[i + 1 : i + 2]]) for i, handle in enumerate(written) if i % 2 == 0) + (
        ">" if len(points) % 2 else ""
    )


def pairs(points: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Handles with their targets.

    Raises:
        InputError: There are none, or the last handle has no target.
    """
    if not points:
        raise InputError("no points yet; click on the face: first what is to move, then where it is to go")
    if len(points) % 2:
        raise InputError(f"point {len(points) // 2 + 1} has no target yet; click where it is to go")
    return list(zip(points[::2], points[1::2], strict=True))


def draw_points(picture: Image.Image, points: Sequence[Point], resolution: int) -> Image.Image:
    """Draw handles as numbered discs and targets as rings, with an arrow from the one to the other.

    Args:
        picture: The face, of any size.
        points: Handles and targets by turns, in pixels of the face at its full size.
        resolution: The full size.

    Returns:
        A copy of the picture with the points; the picture itself if there are none.
    """
    if not points:
        return picture
    drawn, scale = picture.copy(), picture.width / resolution
    draw, radius = ImageDraw.Draw(drawn), max(2.0, picture.width / 64)
    places = [((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5) for x, y in points]
    for number, start in enumerate(places[::2], 1):
        end = places[2 * number - 1] if 2 * number <= len(places) else None
        if end is not None:
            _arrow(draw, start, end, radius)
        _dot(draw, start, radius, _HANDLE)
        _number(draw, start, end or (start[0], start[1] + 1), radius, number)
    return drawn


def _arrow(draw: ImageDraw.ImageDraw, start: Point, end: Point, radius: float) -> None:
    """A line to a ring, whose middle shows what is there."""
    length = math.dist(start, end)
    if length > radius:
        edge = (
            end[0] - (end[0] - start[0]) * radius / length,
            end[1] - (end[1] - start[1]) * radius / length,
        )
        for colour, width in ((_DARK, 0.65), (_LIGHT, 0.3)):
            draw.line((*start, *edge), colour, max(1, round(width * radius)))
    for colour, size, width in ((_DARK, 1.3, 0.85), (_TARGET, 1.15, 0.55)):
        draw.ellipse(_box(end, size * radius), outline=colour, width=max(1, round(width * radius)))


def _dot(draw: ImageDraw.ImageDraw, place: Point, radius: float, colour: tuple[int, int, int]) -> None:
    for size, fill in ((1.0, _DARK), (0.85, _LIGHT), (0.6, colour)):
        draw.ellipse(_box(place, size * radius), fill=fill)


def _number(draw: ImageDraw.ImageDraw, start: Point, end: Point, radius: float, number: int) -> None:
    """The number behind the disc, where the arrow does not go."""
    away = 2.4 * radius / max(math.dist(start, end), 1e-6)
    # It stays readable at the picture's edge.
    place = [
        min(max(start[i] - (end[i] - start[i]) * away, 1.5 * radius), draw.im.size[i] - 1.5 * radius) for i in (0, 1)
    ]
    font = ImageFont.load_default(max(8.0, 2.4 * radius))
    draw.text(
        (place[0], place[1]),
        str(number),
        _LIGHT,
        font,
        "mm",
        stroke_width=max(1, round(0.3 * radius)),
        stroke_fill=_DARK,
    )


def _box(place: Point, radius: float) -> tuple[float, float, float, float]:
    x, y = place
    return x - radius, y - radius, x + radius, y + radius
