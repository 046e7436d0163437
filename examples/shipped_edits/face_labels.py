"""Labels for pictures of faces: expressions, age, gender, head pose, openness of eyes and mouth."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from expression_net import EXPRESSIONS
from face_attributes import FaceAttributes
from face_crop import face_crop, to_images
from landmarks import ENLARGE, find_landmarks, jittered, mirror_landmarks
from PIL import Image, ImageOps
from torch import Tensor

from pti_hub.faces import Face, FaceAnalyzer, embedding, eye_openness, head_pose, mouth_openness, mouth_width
from pti_hub.faces.detector import Box

EXPRESSION_LABELS = {"smile": "happy", "angry": "angry", "surprised": "surprised", "sad": "sad"}
LABELS = (
    *EXPRESSION_LABELS,
    *("age", "gender", "pose", "pitch", "roll", "eyes_open", "mouth_open", "mouth_width", "skin", "tint"),
)
# By how much a smile's label counts against these.
SMILE_COUNTS = {"angry": 0.4, "sad": 0.4}
# Landmarks around each cheek.
CHEEKS = ((2, 31, 36, 48), (14, 35, 45, 54))


class Labelled(NamedTuple):
    """What was read off pictures; NaN for pictures without exactly one face.

    Attributes:
        labels: float32 `[B, K]`, in the order of `LABELS`.
        landmarks: float32 `[B, 68, 2]`, in pixels.
        embeddings: float32 `[B, 128]`, of dlib's network.
    """

    labels: np.ndarray
    landmarks: np.ndarray
    embeddings: np.ndarray


class Labeller:
    """Labels faces that fill most of their pictures.

    Args:
        face_api: Tarball of `@vladmandic/face-api` 1.7.15.
    """

    def __init__(self, face_api: Path) -> None:
        self.attributes = FaceAttributes.from_package(face_api)
        self.faces = FaceAnalyzer()

    def __call__(self, pictures: Iterable[Image.Image]) -> Labelled:
        """Labels of square pictures, of 512 pixels for instance."""
        rows = [self._row(picture) for picture in pictures]
        return Labelled(*(np.stack(part).astype(np.float32) for part in zip(*rows, strict=True)))

    @torch.no_grad()
    def _row(self, image: Image.Image) -> Labelled:
        # The faces are large, so a quarter of the pixels is enough for the detector.
        faces = self.faces.detect(image.reduce(2))
        if len(faces) != 1:
            return Labelled(np.full(len(LABELS), np.nan), np.full((68, 2), np.nan), np.full(128, np.nan))
        left, top, right, bottom = (2 * edge for edge in faces[0].box)
        box = left, top, right, bottom
        labels, landmarks = self._label(image, box)
        labels += skin_colour(image, landmarks)
        return Labelled(np.array(labels), landmarks, embedding(image, Face(box, landmarks, faces[0].score)))

    def _label(self, image: Image.Image, box: Box) -> tuple[list[float], np.ndarray]:
        """Labels and landmarks, averaged over several boxes and the mirror image: a single measurement is too noisy."""
        all_landmarks, crops = [], []
        for mirrored in (False, True):
            picture = ImageOps.mirror(image) if mirrored else image
            # dlib's landmarks are whole pixels, and closed lips are less than a pixel apart.
            large = picture.resize((ENLARGE * image.width, ENLARGE * image.height), Image.Resampling.BILINEAR)
            for left, top, right, bottom in jittered(box):
                if mirrored:
                    left, right = image.width - right, image.width - left
                landmarks = find_landmarks(large, (left, top, right, bottom))
                crops.append(face_crop(picture, landmarks))
                all_landmarks.append(mirror_landmarks(landmarks, image.width) if mirrored else landmarks)
        expression, age, gender = (output.mean(dim=0) for output in self.attributes.logits(to_images(crops)))
        landmarks = np.mean(all_landmarks, axis=0)
        labels = [
            *expression_labels(expression),
            float(age),
            float(gender[1] - gender[0]),
            *head_pose(landmarks),
            eye_openness(landmarks),
            mouth_openness(landmarks),
            mouth_width(landmarks),
        ]
        return labels, landmarks


def expression_labels(logits: Tensor) -> list[float]:
    """Labels of `EXPRESSION_LABELS`: logarithms of a probability over that of others, which the softmax would saturate.

    How angry, surprised or sad a face is, is compared with all expressions but joy, which would outweigh the others; a
    smile counts against anger and sadness by a share of its own label.
    """
    labels = {}
    for label, name in EXPRESSION_LABELS.items():
        left_out = (name,) if name == "happy" else (name, "happy")
        others = [logit for other, logit in zip(EXPRESSIONS, logits, strict=True) if other not in left_out]
        odds = logits[EXPRESSIONS.index(name)] - torch.stack(others).logsumexp(dim=0)
        labels[label] = float(odds) - SMILE_COUNTS.get(label, 0.0) * labels.get("smile", 0.0)
    return list(labels.values())


def skin_colour(picture: Image.Image, landmarks: np.ndarray) -> tuple[float, float]:
    """Lightness of the cheeks, from 0 to 1, and how much redder than blue they are, as a share of the lightness."""
    pixels, radius = np.asarray(picture, float) / 255, round(0.03 * np.ptp(landmarks[:17, 0])) + 1
    patches = []
    for cheek in CHEEKS:
        x, y = landmarks[list(cheek)].mean(0).round().astype(int)
        patch = pixels[max(0, y - radius) : y + radius, max(0, x - radius) : x + radius]
        patches.append(np.median(patch, axis=(0, 1)))
    # The cheek that is turned to the camera or the light shows more.
    red, green, blue = max(patches, key=sum)
    lightness = (red + green + blue) / 3
    return lightness, (red - blue) / max(lightness, 1e-3)
