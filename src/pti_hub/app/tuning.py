"""Personalising with reports on the way: how far it is, how near the picture is, and a way to stop it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from PIL import Image

from pti_hub.images import Photograph, to_pil
from pti_hub.personalization import Personalization
from pti_hub.pipelines import PTIPipeline
from pti_hub.pipelines.inputs import read_targets
from pti_hub.pipelines.inversion import personalize
from pti_hub.pipelines.progress import Progress
from pti_hub.pipelines.scenes import SUBJECT

_SHOWN = 256
"""Height and width of the pictures on the way, in pixels, at most."""
_EVERY = 0.5
"""Seconds between two reports, at least."""


class _Abandoned(Exception):
    """Nobody waits for the work any more."""


@dataclass(frozen=True)
class Report:
    """How far the work is.

    Attributes:
        face: Number of the face.
        stage: `"faces"`, `"project"`, `"tune"` or `"drag"`.
        done: Steps taken for this face.
        total: Steps for this face, at most; the work ends as soon as the face is near enough.
        seconds_left: For this face, at most; `None` where it is not known yet.
        lpips: LPIPS from the photograph, while a face is learned.
        distance: How far the farthest point is from its target, in pixels of the face at 256², while it is dragged.
        picture: What the generator paints by now.
    """

    face: int
    stage: str
    done: int = 0
    total: int = 1
    seconds_left: float | None = None
    lpips: float | None = None
    distance: float | None = None
    picture: Image.Image | None = None


@dataclass(frozen=True)
class Learned:
    """A face that is done.

    Attributes:
        face: Number of the face.
        personalization: What was learned.
    """

    face: int
    personalization: Personalization


def learn_faces(pipe: PTIPipeline, photograph: Photograph, faces: Sequence[int] | None) -> Iterator[Report | Learned]:
    """Personalise the faces of a photograph one after the other; whoever closes the generator stops the work.

    Args:
        pipe: The pipeline.
        photograph: The photograph.
        faces: Numbers of the faces; `None` for the whole picture, where the generator renders no faces.

    Yields:
        Reports, and what was learned of each face.

    Raises:
        PTIError: What `PTIPipeline.personalize` raises.
    """
    total = pipe.projector.config.num_steps + pipe.tuner.config.num_steps

    def work(report: Callable[[Any], None], is_abandoned: Callable[[], bool]) -> None:
        report(Report(faces[0] if faces else 0, "faces"))
        _, targets = read_targets(pipe, photograph, "auto", None if faces is None else list(faces))
        for number, target in targets.items():
            progress = Progress({"disable": True}, Watcher(number, total, is_abandoned, report))
            report(Learned(number, personalize(pipe, {SUBJECT: target}, 0, progress)))

    return reported(work)


def reported(work: Callable[[Callable[[Any], None], Callable[[], bool]], None]) -> Iterator[Any]:
    """What work reports, which is done in a thread of its own; whoever closes the generator stops the work.

    Args:
        work: Called with what it is to report to, and with what tells whether nobody waits for it any more; see
            `Watcher`.

    Yields:
        Each report.

    Raises:
        Exception: What the work raises.
    """
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    abandoned, end = threading.Event(), object()

    def run() -> None:
        try:
            work(items.put, abandoned.is_set)
            items.put(end)
        except BaseException as error:
            items.put(error)

    # The loops call back, and a generator has to yield: they meet in the queue.
    worker = threading.Thread(target=run, name="pti-hub-learning", daemon=True)
    worker.start()
    try:
        while (item := items.get()) is not end:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        abandoned.set()
        worker.join()


class Watcher:
    """A callback that reports now and then.

    Args:
        face: Number of the face.
        total: Number of steps, at most.
        is_abandoned: Whether the work is to end, by an error.
        report: Called with reports.
    """

    def __init__(
        self, face: int, total: int, is_abandoned: Callable[[], bool], report: Callable[[Report], None]
    ) -> None:
        self._face, self._total, self._is_abandoned, self._report = face, total, is_abandoned, report
        self._told, self._stage, self._began = 0.0, "", (0, 0.0)

    def __call__(self, step: int, metrics: dict[str, Any]) -> None:
        if self._is_abandoned():
            raise _Abandoned
        now, done = time.monotonic(), step + 1
        if metrics["stage"] != self._stage:
            self._stage, self._began = metrics["stage"], (done, now)
        if now - self._told < _EVERY:
            return
        self._told = now
        first, since = self._began
        pace = (now - since) / (done - first) if done > first else None
        picture = metrics.get("picture")
        if picture is not None:
            factor = max(1, picture.shape[-1] // _SHOWN)
            picture = to_pil(F.avg_pool2d(picture.float(), factor))[0]
        left = None if pace is None else pace * max(0, self._total - done)
        lpips, distance = metrics.get("lpips"), metrics.get("distance")
        self._report(Report(self._face, self._stage, done, self._total, left, lpips, distance, picture))
