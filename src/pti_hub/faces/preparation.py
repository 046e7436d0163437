"""From a photograph to an aligned face and the face's place in the photograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from pti_hub.errors import FaceError
from pti_hub.faces.alignment import align as align_face
from pti_hub.faces.alignment import crop_quad, is_aligned
from pti_hub.faces.detector import FaceAnalyzer, select

Align: TypeAlias = 'bool | Literal["auto"]'


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A face in FFHQ's alignment.

    Attributes:
        picture: The face, mode RGB, square.
        quad: float64 [4, 2], the corners of the square in the photograph, in the format of `crop_quad`.
    """

    picture: Image.Image
    quad: np.ndarray

    @classmethod
    def whole(cls, picture: Image.Image) -> AlignedFace:
        """An aligned picture, whose square is the whole picture."""
        width, height = picture.size
        return cls(picture, np.array([[0, 0], [0, height], [width, height], [width, 0]]) - 0.5)


def aligned_face(
    picture: Image.Image, size: int, align: Literal[True, "auto"] = "auto", face: int | None = None
) -> AlignedFace:
    """The face of a photograph in FFHQ's alignment.

    Args:
        picture: A picture of mode RGB.
        size: Height and width of the result, in pixels; a larger picture that is already aligned is returned unchanged.
        align: `"auto"` returns an already aligned picture unchanged, `True` aligns every picture.
        face: Index of the face, from left to right, counted from 0; needed if there are several.

    Returns:
        The aligned face and its square in the photograph.

    Raises:
        FaceError: There is no face, or there are several and none was chosen.
        MissingDependencyError: dlib is not installed.
        WeightsError: dlib's models are missing or damaged.
    """
    faces = FaceAnalyzer().detect(picture)
    if face is None and align == "auto" and any(is_aligned(picture, f.landmarks, size) for f in faces):
        return AlignedFace.whole(picture)
    try:
        landmarks = select(faces, face).landmarks
    except FaceError as error:
        raise FaceError(f"{error}, or align=False (--no-align) for an aligned picture") from error
    if align == "auto" and is_aligned(picture, landmarks, size):
        return AlignedFace.whole(picture)
    return AlignedFace(align_face(picture, landmarks, size), crop_quad(landmarks))
