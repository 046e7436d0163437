"""Find faces and their 68 landmarks (Kazemi and Sullivan, 2014)."""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from PIL import Image

from pti_hub.errors import FaceError, InputError, MissingDependencyError
from pti_hub.storage import find_file

SEARCH_SIDE = 1024
"""Longest side, in pixels, to which a photograph is scaled down for the first search."""

SMALLEST_FACE = 80
"""Width in pixels of the smallest face that dlib's detector sees."""

MIN_SCORE = 0.25
"""Lowest detection score that counts: false positives reached 0.13, dark or tilted faces had at least 0.3."""

MIN_RELATIVE_WIDTH = 0.25
"""Faces narrower than this share of the widest face are taken for passers-by and left out."""

_FILES = {
    "shape_predictor": "models/shape_predictor_68_face_landmarks.dat",
    "face_recognition_model_v1": "models/dlib_face_recognition_resnet_model_v1.dat",
}


Box: TypeAlias = tuple[int, int, int, int]

FaceChoice: TypeAlias = 'int | Sequence[int] | Literal["all"] | None'
"""Which faces of a photograph are meant, by their numbers: faces are counted from left to right, from 0."""


@dataclass(frozen=True)
class Face:
    """A face found in a picture, in that picture's pixels.

    Attributes:
        box: Left, top, right and bottom edge; edges may lie outside the picture.
        landmarks: float64 [68, 2], x and y, in the iBUG order; whole numbers are pixel centres.
        score: The detector's confidence, from `MIN_SCORE` to about 3.
    """

    box: Box
    # Excluded from comparisons, since comparing arrays gives no single truth value.
    landmarks: np.ndarray = field(compare=False, repr=False)
    score: float


class FaceAnalyzer:
    """Finds faces with dlib's detector and landmark model.

    Raises:
        MissingDependencyError: dlib is not installed.
        WeightsError: The landmark model is missing or damaged.
    """

    def __init__(self) -> None:
        self._dlib, self._predictor = import_dlib(), load_model("shape_predictor")

    def detect(self, image: Image.Image) -> list[Face]:
        """Find the faces in a picture.

        Args:
            image: A picture of mode RGB, upright.

        Returns:
            The faces from left to right; an empty list if there are none.
        """
        scale = min(1.0, SEARCH_SIDE / max(image.size))
        detections = self._search(image, scale)
        # Search again at twice the scale, unless every face wide enough to be listed has already been seen.
        if _largest_width(detections) * scale * MIN_RELATIVE_WIDTH < SMALLEST_FACE:
            detections = max(detections, self._search(image, 2 * scale), key=len)
        largest_width = _largest_width(detections)
        pixels = np.asarray(image)
        faces = []
        for box, score in detections:
            left, top, right, bottom = box
            if right - left < MIN_RELATIVE_WIDTH * largest_width:
                continue
            shape = self._predictor(pixels, self._dlib.rectangle(left, top, right - 1, bottom - 1))
            landmarks = np.array([(p.x, p.y) for p in shape.parts()], dtype=np.float64)
            faces.append(Face(box, landmarks, score))
        return sorted(faces, key=lambda face: face.box)

    def _search(self, image: Image.Image, scale: float) -> list[tuple[Box, float]]:
        width, height = (max(1, round(side * scale)) for side in image.size)
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        rectangles, scores, _ = _frontal_detector().run(np.asarray(resized), 0, MIN_SCORE)
        edges = ((r.left(), r.top(), r.right() + 1, r.bottom() + 1) for r in rectangles)
        boxes = [tuple(round(edge / scale) for edge in box) for box in edges]
        return list(zip(boxes, scores, strict=True))


def widest(faces: Sequence[Face]) -> Face | None:
    """The widest face, for callers that have to choose one themselves; `None` if there is no face.

    Args:
        faces: The faces of one photograph.
    """
    return max(faces, key=lambda face: face.box[2] - face.box[0], default=None)


def select(faces: Sequence[Face], face: int | None = None) -> Face:
    """Choose one of several faces.

    Args:
        faces: Result of `FaceAnalyzer.detect`.
        face: Index into `faces`; may be `None` if there is only one face.

    Returns:
        The face.

    Raises:
        FaceError: There is no face, there are several and `face` is `None`, or the index is out of range.
    """
    if not faces:
        raise FaceError("no face found; give an upright picture with a sharp face, from the front, not cut off")
    if face is None and len(faces) == 1:
        return faces[0]
    if face is not None and 0 <= face < len(faces):
        return faces[face]
    raise FaceError(_explain(faces, face))


def choose(faces: Sequence[Face], choice: FaceChoice = None) -> list[int]:
    """Choose some of several faces.

    Args:
        faces: Result of `FaceAnalyzer.detect`.
        choice: Number of a face, numbers, or `"all"`; may be `None` if there is only one face.

    Returns:
        The numbers, in ascending order.

    Raises:
        FaceError: There is no such face, there is none at all, or there are several and `choice` is `None`.
        InputError: The choice is none of these.
    """
    if choice is None:
        select(faces)
        return [0]
    if isinstance(choice, str) and choice == "all":
        select(faces, 0)
        return list(range(len(faces)))
    several: Any = choice if isinstance(choice, (list, tuple, set, range, np.ndarray)) else [choice]
    if len(several) == 0 or not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in several):
        raise InputError(f"face={choice!r}; expected the number of a face, numbers such as [0, 2], or 'all'")
    numbers = sorted({int(number) for number in several})
    for number in numbers:
        select(faces, number)
    return numbers


def _explain(faces: Sequence[Face], face: int | None) -> str:
    """Why no face could be chosen."""
    boxes = ", ".join(
        f"face={i} at ({left}, {top}, {right - left}×{bottom - top})"
        for i, (left, top, right, bottom) in enumerate(f.box for f in faces)
    )
    if face is None:
        return f"{len(faces)} faces found: {boxes}; choose with face= (--face on the command line)"
    return f"there is no face={face} among the {len(faces)} found: {boxes}"


def import_dlib() -> Any:
    """Import dlib.

    Raises:
        MissingDependencyError: dlib is not installed.
    """
    try:
        return importlib.import_module("dlib")
    except ImportError as error:
        raise MissingDependencyError(
            "finding faces needs dlib, which is not installed; run: pip install 'pti-hub[faces]'"
        ) from error


@functools.cache
def load_model(kind: Literal["shape_predictor", "face_recognition_model_v1"]) -> Any:
    """Load one of dlib's trained models from the installed weight package.

    Args:
        kind: Name of the model's class in dlib.

    Returns:
        The model; every call returns the same object.

    Raises:
        MissingDependencyError: dlib is not installed.
        WeightsError: The model's file is missing or damaged.
    """
    constructor = getattr(import_dlib(), kind)
    # dlib's native reader trusts the indices in a file, so `find_file` verifies the checksum first.
    return constructor(str(find_file("face_recognition_models", _FILES[kind])))


def _largest_width(detections: list[tuple[Box, float]]) -> int:
    return max((right - left for (left, _, right, _), _ in detections), default=0)


_of_thread = threading.local()


def _frontal_detector() -> Any:
    """A detector of this thread's own: one that two threads use at once ends the process."""
    if not hasattr(_of_thread, "detector"):
        _of_thread.detector = import_dlib().get_frontal_face_detector()
    return _of_thread.detector
