"""From a photograph to an aligned face and the face's place in the photograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from pti_hub.errors import FaceError
from pti_hub.faces.alignment import align as align_face
from pti_hub.faces.alignment import crop_quad, is_aligned
from pti_hub.faces.detector import Face, FaceAnalyzer, FaceChoice, choose
from pti_hub.logging import get_logger

Align: TypeAlias = 'bool | Literal["auto"]'
"""Whether faces are brought to FFHQ's alignment; `"auto"` leaves pictures as they are that are aligned already."""

# Enlargement from which on a face looks soft.
_ENLARGED = 4
_TURNS = {
    "90° clockwise": Image.Transpose.ROTATE_270,
    "90° anticlockwise": Image.Transpose.ROTATE_90,
    "180°": Image.Transpose.ROTATE_180,
}


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A face in FFHQ's alignment.

    Attributes:
        picture: The face, mode RGB, square.
        quad: float64 [4, 2], the corners of the square in the photograph, in the format of `crop_quad`.
        landmarks: float64 [68, 2], x and y as shares of the square's side; `None` if no face was looked for.
    """

    picture: Image.Image
    quad: np.ndarray
    landmarks: np.ndarray | None = None

    @classmethod
    def whole(cls, picture: Image.Image, face: Face | None = None) -> AlignedFace:
        """An aligned picture, whose square is the whole picture.

        Args:
            picture: A square picture.
            face: What was detected in it, if anything was.
        """
        width, height = picture.size
        quad = np.array([[0, 0], [0, height], [width, height], [width, 0]]) - 0.5
        return cls(picture, quad, None if face is None else _shares(face.landmarks, quad))


def aligned_faces(
    picture: Image.Image, size: int, align: Literal[True, "auto"] = "auto", face: FaceChoice = None
) -> dict[int, AlignedFace]:
    """Faces of a photograph in FFHQ's alignment.

    Args:
        picture: A picture of mode RGB.
        size: Height and width of the results, in pixels; a larger picture that is already aligned is returned
            unchanged.
        align: `"auto"` returns an already aligned picture unchanged, `True` aligns every picture.
        face: Which faces; needed if there are several.

    Returns:
        The aligned faces, by number, from left to right.

    Raises:
        FaceError: There is no face, no such face, or there are several and none was chosen.
        InputError: `face` is none of the supported choices.
        MissingDependencyError: dlib is not installed.
        WeightsError: dlib's models are missing or damaged.
    """
    faces = FaceAnalyzer().detect(picture)
    aligned = [i for i, f in enumerate(faces) if align == "auto" and is_aligned(picture, f.landmarks, size)]
    if face is None and aligned:
        return {aligned[0]: AlignedFace.whole(picture, faces[aligned[0]])}
    try:
        numbers = choose(faces, face)
    except FaceError as error:
        hint = "" if faces else _turned(picture)
        raise FaceError(f"{error}{hint}, or align=False (--no-align) for an aligned picture") from error
    return {
        i: AlignedFace.whole(picture, faces[i]) if i in aligned else _cut_out(picture, faces[i], size, i)
        for i in numbers
    }


def _cut_out(picture: Image.Image, face: Face, size: int, number: int) -> AlignedFace:
    quad = crop_quad(face.landmarks)
    side = float(np.hypot(*(quad[1] - quad[0])))
    if side * _ENLARGED < size:
        get_logger(__name__).warning(
            "face %d is small: %.0f px are enlarged to %d px, so the face alone will be soft", number, side, size
        )
    return AlignedFace(align_face(picture, face.landmarks, size), quad, _shares(face.landmarks, quad))


def _shares(points: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """Points [N, 2] of the photograph as shares of the square's side."""
    sides = np.stack([quad[3] - quad[0], quad[1] - quad[0]], 1)  # [2, 2]
    return np.linalg.solve(sides, (points - quad[0]).T).T


def _turned(picture: Image.Image) -> str:
    """A hint for a photograph that has to be turned before a face is found in it."""
    for angle, turn in _TURNS.items():
        if FaceAnalyzer().detect(picture.transpose(turn)):
            return f"; there is a face if the picture is turned by {angle}: save it so"
    return ""
