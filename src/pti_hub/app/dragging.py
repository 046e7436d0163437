"""Points of a face dragged at the page: one drag is one more line of the edits."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image

from pti_hub.app.edit_lines import name_of, read_lines
from pti_hub.app.points import MOST_POINTS, draw_points, pairs
from pti_hub.app.studio import Studio, portrait_of
from pti_hub.app.tuning import Report, Watcher, reported
from pti_hub.app.visits import Visit
from pti_hub.edits import Drag, DragConfig
from pti_hub.edits.dragging import Point, check_moves
from pti_hub.errors import InputError
from pti_hub.logging import get_logger
from pti_hub.optim import helpers_end
from pti_hub.pipelines import drag_portrait

_MOST_KEPT = 100
"""Drags of one page that no line names are forgotten once there are so many."""


def click(studio: Studio, visit: Visit, who: str, place: Point) -> None:
    """Take a point over: by turns what is to move, and where it is to go.

    Args:
        studio: The studio.
        visit: Whose page it is.
        who: Whose face it is.
        place: The point in pixels of the picture that is shown.

    Raises:
        InputError: Nobody of that name is there, or there are as many points as there may be.
    """
    portrait_of(visit, who)
    points = visit.points.get(who, [])
    if len(points) >= 2 * MOST_POINTS:
        raise InputError(f"{MOST_POINTS} points are there, which is as many as are dragged at once; drag or clear them")
    shown = visit.shown.width if visit.shown is not None else studio.pipe.generator.resolution
    # While a slider moves, the face is shown smaller than it is.
    scale = studio.pipe.generator.resolution / shown
    x, y = (float(round((number + 0.5) * scale - 0.5)) for number in place)
    visit.points[who] = [*points, (x, y)]


def drag(studio: Studio, visit: Visit, who: str) -> Iterator[Report | Drag]:
    """Drag the points of a face, which starts from all its edits.

    Yields:
        Reports, and at last what was found. It ends early if `visit.stop` is set.

    Raises:
        InputError: There is nothing to drag, a point lies outside the face, or there are as many edits as may be.
    """
    portrait, lines = portrait_of(visit, who), visit.lines[who]
    moves, name, config = pairs(visit.points.get(who, [])), _free_name(studio, visit), DragConfig()
    check_moves(moves, studio.pipe.generator.resolution)
    read_lines("\n".join([*lines, name]))
    edits = studio.check(visit, lines)

    def work(report: Callable[[Any], None], is_abandoned: Callable[[], bool]) -> None:
        watcher = Watcher(0, config.num_steps, is_abandoned, report)
        # What is to be said of the edits before it is said with the edited photograph.
        with studio.remarks.heard(), helpers_end():
            report(drag_portrait(portrait, edits, moves, name, None, config, watcher)[0])

    visit.stop.clear()
    items = reported(work)
    try:
        for item in items:
            visit.used = time.monotonic()
            if visit.stop.is_set():
                break
            yield item
    finally:
        items.close()  # type: ignore[attr-defined]


def show_step(studio: Studio, visit: Visit, who: str, picture: Image.Image) -> str:
    """Show the face on its way, as large as before: a click on it means the same.

    Returns:
        Address of the picture.
    """
    resolution = studio.pipe.generator.resolution
    size = visit.shown.size if visit.shown is not None else (resolution, resolution)
    drawn = draw_points(picture.resize(size, Image.Resampling.BICUBIC), visit.points.get(who, []), resolution)
    return studio.show(visit, "face", drawn)


def keep(visit: Visit, who: str, found: Drag) -> None:
    """Make a drag the last edit of a face, and say which points stop short of their targets."""
    name = found.direction.name
    lines = [line for lines in visit.lines.values() for line in lines]
    unused = visit.drags.keys() - {name_of(line) for line in lines}
    for old in [old for old in visit.drags if old in unused][: max(0, len(visit.drags) + 1 - _MOST_KEPT)]:
        del visit.drags[old]
    visit.drags[name] = found.direction
    visit.lines[who] = [*visit.lines[who], f"{name}=1"]
    visit.points.pop(who, None)
    for number, (left, has_arrived) in enumerate(zip(found.distances, found.arrived, strict=True), 1):
        if not has_arrived:
            get_logger(__name__).warning(
                f"point {number} stops {left:.1f} px before its target, in pixels of the face at 256²",
                extra={"plain": f"point {number} goes no further on this face"},
            )


def undo(visit: Visit, who: str) -> None:
    """Take the last drag out of the edits of a face; its name can still be written.

    Raises:
        InputError: Nobody of that name is there, or no edit is a drag.
    """
    portrait_of(visit, who)
    lines = visit.lines[who]
    dragged = [i for i, line in enumerate(lines) if name_of(line) in visit.drags]
    if not dragged:
        raise InputError(f"no edit of {who} is a drag")
    visit.lines[who] = [line for i, line in enumerate(lines) if i != dragged[-1]]


def _free_name(studio: Studio, visit: Visit) -> str:
    """A name that no edit has; that of a drag which was forgotten is never used again: the last one stays."""
    numbers = [int(name.removeprefix("drag")) for name in visit.drags]
    names = (f"drag{number}" for number in itertools.count(1 + max(numbers, default=0)))
    return next(name for name in names if name not in studio.pipe.edits)
