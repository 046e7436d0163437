"""Labels for faces of the default generator: smile, age, gender, head pose, openness of eyes and mouth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from face_attributes import EXPRESSIONS, FaceAttributes, face_crop, to_images
from PIL import Image, ImageOps
from torch import Tensor

from pti_hub.checkpoints.openvino import load_mobile_stylegan
from pti_hub.faces import Face, FaceAnalyzer, embedding, eye_openness, head_pose, mouth_openness
from pti_hub.faces.detector import Box, import_dlib, load_model
from pti_hub.optim import reused_memory

# Pitch and roll are no edits, but edits should leave pitch unchanged; FFHQ's alignment removes roll.
LABELS = ("smile", "age", "gender", "pose", "pitch", "roll", "eyes_open", "mouth_open")
RESOLUTION = 512

MARGINS = (-0.04, 0.0, 0.04)  # added around a face's box, as shares of the box's width
ENLARGE = 2
# The landmark at the mirrored place of each of the 68 landmarks: jaw, brows, nose, eyes, outer and inner lips.
MIRROR = [
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *range(54, 47, -1),
    *range(59, 54, -1),
    *range(64, 59, -1),
    *range(67, 64, -1),
]


class Labeller:
    """Renders latents and labels the faces."""

    def __init__(self, face_api: Path) -> None:
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        self.generator = load_mobile_stylegan()
        self.attributes = FaceAttributes.from_package(face_api)
        self.faces = FaceAnalyzer()

    def __call__(self, ws: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Labels float32 [B, 8] and embeddings float32 [B, 128]; NaN for pictures without exactly one face."""
        labels = np.full((len(ws), len(LABELS)), np.nan, np.float32)
        embeddings = np.full((len(ws), 128), np.nan, np.float32)
        with reused_memory():
            for i in range(len(ws)):
                image = to_pil(self.generator.synthesis(ws[i : i + 1], resolution=RESOLUTION)[0])
                # The faces are large, so a quarter of the pixels is enough for the detector.
                faces = self.faces.detect(image.reduce(2))
                if len(faces) != 1:
                    continue
                left, top, right, bottom = (2 * edge for edge in faces[0].box)
                box = left, top, right, bottom
                labels[i], landmarks = self._label(image, box)
                embeddings[i] = embedding(image, Face(box, landmarks, faces[0].score))
        return labels, embeddings

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
        happy = EXPRESSIONS.index("happy")
        unhappy = torch.cat([expression[:happy], expression[happy + 1 :]])
        landmarks = np.mean(all_landmarks, axis=0)
        labels = [
            float(expression[happy] - unhappy.logsumexp(dim=0)),
            float(age),
            float(gender[1] - gender[0]),
            *head_pose(landmarks),
            eye_openness(landmarks),
            mouth_openness(landmarks),
        ]
        return labels, landmarks


def jittered(box: Box) -> list[Box]:
    """A face's box in three sizes: smaller, unchanged and larger."""
    left, top, right, bottom = box
    margins = (round(share * (right - left)) for share in MARGINS)
    return [(left - margin, top - margin, right + margin, bottom + margin) for margin in margins]


def find_landmarks(large: Image.Image, box: Box) -> np.ndarray:
    """Landmarks [68, 2] of the face in a box of the picture; `large` is the picture, enlarged `ENLARGE` times."""
    left, top, right, bottom = (ENLARGE * edge for edge in box)
    rectangle = import_dlib().rectangle(left, top, right - 1, bottom - 1)
    points = [(point.x, point.y) for point in load_model("shape_predictor")(np.asarray(large), rectangle).parts()]
    # Whole numbers are pixel centres.
    landmarks: np.ndarray = (np.array(points) + 0.5) / ENLARGE - 0.5
    return landmarks


def mirror_landmarks(landmarks: np.ndarray, width: int) -> np.ndarray:
    """Landmarks [68, 2] in the mirror image of a picture, where left and right eye are exchanged."""
    mirrored: np.ndarray = (landmarks * (-1, 1) + (width - 1, 0))[MIRROR]
    return mirrored


def to_pil(picture: Tensor) -> Image.Image:
    """Convert a picture [3, H, W] in [-1, 1] to a PIL image."""
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
