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
        stage: `"faces"`, `"project"` or `"tune"`.
        done: Steps taken for this face.
        total: Steps for this face, at most; tuning ends as soon as the face is near enough.
        seconds_left: For this face, at most; `None` where it is not known yet.
        lpips: LPIPS from the photograph.
        picture: What the generator paints by now.
    """

    face: int
    stage: str
    done: int = 0
    total: int = 1
    seconds_left: float | None = None
    lpips: float | None = None
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
    items: queue.SimpleQueue[Report | Learned | BaseException | None] = queue.SimpleQueue()
    abandoned = threading.Event()

    def work() -> None:
        try:
            items.put(Report(faces[0] if faces else 0, "faces"))
            _, targets = read_targets(pipe, photograph, "auto", None if faces is None else list(faces))
            for number, target in targets.items():
                progress = Progress({"disable": True}, _Watcher(pipe, number, abandoned, items.put))
                items.put(Learned(number, personalize(pipe, {SUBJECT: target}, 0, progress)))
            items.put(None)
        except BaseException as error:
            items.put(error)

    # The loops call back, and a generator has to yield: they meet in the queue.
    worker = threading.Thread(target=work, name="pti-hub-learning", daemon=True)
    worker.start()
    try:
        while (item := items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        abandoned.set()
        worker.join()


class _Watcher:
    """A callback that reports now and then."""

    def __init__(
        self, pipe: PTIPipeline, face: int, abandoned: threading.Event, report: Callable[[Report], None]
    ) -> None:
        self._face, self._abandoned, self._report = face, abandoned, report
        self._total = pipe.projector.config.num_steps + pipe.tuner.config.num_steps
        self._told, self._stage, self._began = 0.0, "", (0, 0.0)

    def __call__(self, step: int, metrics: dict[str, Any]) -> None:
        if self._abandoned.is_set():
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
        self._report(Report(self._face, self._stage, done, self._total, left, metrics["lpips"], picture))
