"""Find faces and their 68 landmarks (Kazemi and Sullivan, 2014)."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from PIL import Image

from pti_hub.errors import FaceError, MissingDependencyError
from pti_hub.storage import find_file

SEARCH_SIDE = 1024
"""Longest side, in pixels, to which a photograph is scaled down for a first look."""

SMALLEST_FACE = 80
"""Width in pixels of the smallest face that dlib's detector sees."""

MIN_SCORE = 0.25
"""Least detection score: false alarms reached 0.13, dark or tilted faces were 0.3 and more."""

MIN_RELATIVE_WIDTH = 0.25
"""Faces narrower than this share of the widest are passers-by, and left out."""

_FILES = {
    "shape_predictor": "models/shape_predictor_68_face_landmarks.dat",
    "face_recognition_model_v1": "models/dlib_face_recognition_resnet_model_v1.dat",
}


Box: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True)
class Face:
    """A face found in a picture, in that picture's pixels.

    Attributes:
        box: Left, top, right and bottom edge; they may lie beyond the picture.
        landmarks: float64 [68, 2], x and y in the iBUG order; whole numbers are pixel centres.
        score: The detector's confidence, from `MIN_SCORE` to about 3.
    """

    box: Box
    # An array has no single truth value, which comparing it would need.
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
            The faces from left to right; an empty list where there are none.
        """
        scale = min(1.0, SEARCH_SIDE / max(image.size))
        found = self._search(image, scale)
        # A second look, twice as close, unless all that would be listed has been seen.
        if _widest(found) * scale * MIN_RELATIVE_WIDTH < SMALLEST_FACE:
            found = max(found, self._search(image, 2 * scale), key=len)
        widest = _widest(found)
        pixels = np.asarray(image)
        faces = []
        for box, score in found:
            left, top, right, bottom = box
            if right - left < MIN_RELATIVE_WIDTH * widest:
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
    """The widest face, where one has to be chosen without asking; `None` where there is no face."""
    return max(faces, key=lambda face: face.box[2] - face.box[0], default=None)


def select(faces: Sequence[Face], face: int | None = None) -> Face:
    """Choose one face of those found.

    Args:
        faces: What `FaceAnalyzer.detect` found.
        face: Index in that list, or `None` where there is only one.

    Returns:
        The face.

    Raises:
        FaceError: There is none, there are several and `face` is `None`, or there is no such index.
    """
    if not faces:
        raise FaceError("no face found; give an upright picture with a sharp face, from the front, not cut off")
    if face is None and len(faces) == 1:
        return faces[0]
    if face is not None and 0 <= face < len(faces):
        return faces[face]
    boxes = ", ".join(
        f"face={i} at ({left}, {top}, {right - left}×{bottom - top})"
        for i, (left, top, right, bottom) in enumerate(f.box for f in faces)
    )
    if face is None:
        raise FaceError(f"{len(faces)} faces found: {boxes}; choose one with face= (--face on the command line)")
    raise FaceError(f"there is no face={face} among the {len(faces)} found: {boxes}")


def import_dlib() -> Any:
    """The dlib module.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        return importlib.import_module("dlib")
    except ImportError as error:
        raise MissingDependencyError("faces need dlib, which is missing; run: pip install 'pti-hub[faces]'") from error


@functools.cache
def load_model(kind: Literal["shape_predictor", "face_recognition_model_v1"]) -> Any:
    """Load one of dlib's trained models from the installed weight package.

    Args:
        kind: The name of dlib's class.

    Returns:
        The model; the same one on every call.

    Raises:
        MissingDependencyError: dlib is not installed.
        WeightsError: The file is missing or damaged.
    """
    constructor = getattr(import_dlib(), kind)
    # dlib's reader is native code that trusts the indices in its files: `find_file` has checked the file first.
    return constructor(str(find_file("face_recognition_models", _FILES[kind])))


def _widest(found: list[tuple[Box, float]]) -> int:
    return max((right - left for (left, _, right, _), _ in found), default=0)


@functools.cache
def _frontal_detector() -> Any:
    return import_dlib().get_frontal_face_detector()
