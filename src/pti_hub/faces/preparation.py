"""Photograph → aligned face."""

from __future__ import annotations

from typing import Literal, TypeAlias

from PIL import Image

from pti_hub.errors import FaceError
from pti_hub.faces.alignment import align as align_face
from pti_hub.faces.alignment import is_aligned
from pti_hub.faces.detector import FaceAnalyzer, select

Align: TypeAlias = 'bool | Literal["auto"]'


def aligned_face(
    picture: Image.Image, size: int, align: Literal[True, "auto"] = "auto", face: int | None = None
) -> Image.Image:
    """The face of a photograph in FFHQ's alignment.

    Args:
        picture: A picture of mode RGB.
        size: Side of the result in pixels; an aligned picture that is larger is returned as it is.
        align: `"auto"` returns a picture that is aligned already as it is, `True` aligns it anew.
        face: Which face, from left to right, where there are several.

    Raises:
        FaceError: There is no face, or there are several and none was chosen.
        MissingDependencyError: dlib is not installed.
        WeightsError: dlib's models are missing or damaged.
    """
    faces = FaceAnalyzer().detect(picture)
    if face is None and align == "auto" and any(is_aligned(picture, f.landmarks, size) for f in faces):
        return picture
    try:
        landmarks = select(faces, face).landmarks
    except FaceError as error:
        raise FaceError(f"{error}, or align=False (--no-align) for an aligned picture") from error
    if align == "auto" and is_aligned(picture, landmarks, size):
        return picture
    return align_face(picture, landmarks, size)
