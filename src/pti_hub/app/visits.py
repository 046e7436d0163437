"""What people at the page have opened: in memory, apart from one another, and gone with them."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from PIL import Image

from pti_hub.app.pictures import Pictures
from pti_hub.app.settings import Settings
from pti_hub.edits import AppliedEdit, Direction
from pti_hub.edits.dragging import Point
from pti_hub.errors import InputError
from pti_hub.faces import Face
from pti_hub.images import Photograph
from pti_hub.pipelines import Portrait

_MOST_PEOPLE = 50

_SAME = 0.1
"""Share of a face's side by which two faces lie apart, at least."""

_EMPTY = 60
"""Seconds after which a visit that has opened nothing may make room."""


@dataclass(frozen=True, eq=False)
class Made:
    """A picture that was made.

    Attributes:
        lines: The edits as they were written.
        edits: The edits with the strengths that were found for them.
        picture: The edited face, at full size.
    """

    lines: list[str]
    edits: list[AppliedEdit]
    picture: Image.Image


@dataclass(eq=False)
class Visit:
    """One open page.

    Attributes:
        key: Name of the visit, known to the server and its browser alone.
        photograph: The photograph that was opened.
        name: Name of the photograph's file, with suffix.
        faces: The faces in it, if the generator renders faces.
        portraits: Who can be edited, by what the page calls them.
        lines: Edits of each of them, in order.
        made: The last picture of each of them at full size.
        learned: Who of them was learned from the open photograph.
        before: Addresses of the pictures without edits.
        scale: By how much the photograph is larger than the picture of it that is clicked on.
        shown: The face that is shown, without the points that are drawn onto it.
        points: Points of each face that are to be dragged and their targets, by turns, in pixels of the face.
        drags: What was dragged, by the name in the edits.
        stop: Set to end what is being learned or dragged.
        is_gone: Whether the page was closed.
        used: When something last happened, in seconds of the monotonic clock.
    """

    key: str
    photograph: Photograph | None = None
    name: str = "photograph.png"
    faces: list[Face] = field(default_factory=list)
    portraits: dict[str, Portrait] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    made: dict[str, Made] = field(default_factory=dict)
    learned: set[str] = field(default_factory=set)
    before: dict[str, str] = field(default_factory=dict)
    scale: float = 1.0
    shown: Image.Image | None = None
    points: dict[str, list[Point]] = field(default_factory=dict)
    drags: dict[str, Direction] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    is_gone: bool = False
    used: float = field(default_factory=time.monotonic)

    def is_home(self, who: str) -> bool:
        """Whether the face of a portrait lies in the photograph that is open."""
        portrait = self.portraits[who]
        placement = portrait.personalization.placements.get(portrait.name)
        photograph = self.photograph
        return photograph is not None and placement is not None and placement.digest == photograph.digest

    def at_home_with(self, who: str) -> list[str]:
        """Who is in the open photograph beside somebody; of the same face learned twice, only that somebody."""
        met = [who]
        for other in self.portraits:
            place = self.portraits[other].placement if self.is_home(other) else None
            known = [self.portraits[one].placement for one in met]
            if place and all(math.dist(place.quad[0], p.quad[0]) > _SAME * p.side for p in known):
                met.append(other)
        return met

    def meet(self, who: str, portrait: Portrait) -> None:
        """Make somebody known, without edits.

        Raises:
            InputError: There are as many people as there may be.
        """
        if len(self.portraits) >= _MOST_PEOPLE:
            raise InputError(f"{_MOST_PEOPLE} people are here, which is as many as there may be; reload the page")
        self.portraits[who], self.lines[who] = portrait, []
        # Pictures may hold the style of whoever had the name.
        self.made.clear()
        self.before.pop(who, None)
        self.points.pop(who, None)

    def free_name(self, name: str) -> str:
        """A name that nobody has and that can be a part of an edit: the given one, or that with a number."""
        name = re.sub(r"_layers(?=\d)", " layers", name.replace("=", "-"))
        free, count = name, 1
        while free in self.portraits:
            count += 1
            free = f"{name} ({count})"
        return free

    def close_photograph(self) -> None:
        """Forget the photograph and who was learned from it; people who were loaded stay."""
        for who in self.learned:
            self.portraits.pop(who, None)
            self.lines.pop(who, None)
            self.points.pop(who, None)
        self.learned.clear()
        self.made.clear()
        self.before.clear()
        self.photograph, self.faces, self.shown = None, [], None


class Visits:
    """All open pages.

    Args:
        settings: How many there may be.
        pictures: Where their pictures are kept.
    """

    def __init__(self, settings: Settings, pictures: Pictures) -> None:
        self._settings, self._pictures = settings, pictures
        self._visits: dict[str, Visit] = {}
        # The last ones: an event may come after the end.
        self._ended: deque[str] = deque(maxlen=10_000)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._visits)

    def of(self, key: str) -> Visit:
        """The visit of that name, begun if it is new.

        Raises:
            InputError: There are as many visits as there may be, or the visit is over.
        """
        with self._lock:
            if key in self._ended:
                raise InputError("this page was closed, or idle for too long, and all of it is forgotten; reload it")
            visit = self._visits.get(key)
            if visit is None:
                self._make_room()
                visit = self._visits[key] = Visit(key)
            visit.used = time.monotonic()
            return visit

    def end(self, key: str) -> None:
        """Forget a visit, and end what is being learned for it."""
        with self._lock:
            self._end(key)

    def _make_room(self) -> None:
        now, limit = time.monotonic(), self._settings.idle_minutes * 60
        for visit in sorted(self._visits.values(), key=lambda visit: visit.used):
            is_empty = visit.photograph is None and not visit.portraits
            is_over = now - visit.used > (min(limit, _EMPTY) if is_empty else limit)
            if is_over and len(self._visits) >= self._settings.visits:
                self._end(visit.key)
        if len(self._visits) >= self._settings.visits:
            raise InputError(f"{len(self._visits)} people are here, which is as many as there may be; come back later")

    def _end(self, key: str) -> None:
        visit = self._visits.pop(key, None)
        if visit is not None:
            self._ended.append(key)
            visit.is_gone = True
            visit.stop.set()
            visit.portraits.clear()
            visit.made.clear()
            visit.drags.clear()
            visit.points.clear()
            visit.photograph, visit.faces, visit.shown = None, [], None
            self._pictures.forget(key)
