"""Personalising on a GPU that is lent for single calls, as Spaces on the Hub lend theirs (ZeroGPU)."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from pti_hub.app.tuning import Learned, Report, learn_faces
from pti_hub.images import Photograph
from pti_hub.pipelines import PTIPipeline

Learn: TypeAlias = Callable[[Photograph, "Sequence[int] | None"], Iterator["Report | Learned"]]

_SECONDS = 90
"""For how long a GPU is asked for: the faces of one call."""


def is_lent() -> bool:
    """Whether GPUs are lent here."""
    return bool(os.environ.get("SPACES_ZERO_GPU")) and importlib.util.find_spec("spaces") is not None


def learner(pipe: PTIPipeline) -> Learn:
    """`learn_faces` of a pipeline, on a lent GPU where there is one.

    The lender runs the work in a process of its own, which has a copy of the pipeline: only what the work yields comes
    back. The pipeline itself stays where it is, and pictures are rendered there.
    """

    def learn(photograph: Photograph, faces: Sequence[int] | None) -> Iterator[Report | Learned]:
        yield from learn_faces(pipe.to("cuda") if is_lent() else pipe, photograph, faces)

    if not is_lent():
        return learn
    spaces: Any = importlib.import_module("spaces")
    lent: Learn = spaces.GPU(learn, duration=_SECONDS)
    return lent
