"""Who is in a picture: dlib's face embedding, which measures how well an edit keeps the identity."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pti_hub.errors import InputError
from pti_hub.faces.detector import Face, import_dlib, load_model

SAME_PERSON = 0.6
"""Distance below which two faces are taken for the same person: dlib's own threshold."""


def embedding(image: Image.Image, face: Face) -> np.ndarray:
    """Embed a face, such that faces of the same person lie close together (dlib's residual network).

    Args:
        image: A picture of mode RGB.
        face: A face in the picture, found by `FaceAnalyzer.detect`.

    Returns:
        float32 [128], of norm about 1.5; compare two embeddings with `identity_distance`.

    Raises:
        MissingDependencyError: dlib is not installed.
        WeightsError: The model's file is missing or damaged.
    """
    dlib = import_dlib()
    model = load_model("face_recognition_model_v1")
    left, top, right, bottom = face.box
    # dlib keeps landmarks in whole pixels.
    points = [dlib.point(round(x), round(y)) for x, y in face.landmarks.tolist()]
    shape = dlib.full_object_detection(dlib.rectangle(left, top, right - 1, bottom - 1), points)
    chip = dlib.get_face_chip(np.asarray(image), shape, size=150)
    return np.array(model.compute_face_descriptor(chip), dtype=np.float32)


def identity_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Euclidean distance between two embeddings.

    Args:
        a: [128], from `embedding`, or [512], from `pti_hub.encoders.ArcFace`.
        b: An embedding of the same shape, from the same network.

    Returns:
        The distance; dlib's embeddings of the same person usually lie closer than `SAME_PERSON`.

    Raises:
        InputError: The shapes differ, or are neither [128] nor [512].
    """
    if a.shape != b.shape or a.shape not in ((128,), (512,)):
        raise InputError(
            f"embeddings of shapes {list(a.shape)}, {list(b.shape)} were given; expected [128] twice or [512] twice"
        )
    return float(np.linalg.norm(a.astype(np.float64) - b.astype(np.float64)))
