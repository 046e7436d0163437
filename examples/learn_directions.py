"""Learn edit directions."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from face_attributes import EXPRESSIONS, FaceAttributes, face_crop
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from pti_hub.checkpoints.openvino import load_mobile_stylegan
from pti_hub.faces import (
    FaceAnalyzer,
    embedding,
    eye_openness,
    head_pose,
    mouth_openness,
)
from pti_hub.generators import MobileStyleGAN
from pti_hub.memory import reused_memory

LABELS = ("smile", "age", "gender", "pose", "pitch", "roll", "eyes_open", "mouth_open")
CHUNK = 50  # pictures a task: what an interruption loses
RESOLUTION = 512

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

Run = Annotated[Path, typer.Argument(help="Folder of the run; what lies there is not done again.")]
FaceApi = Annotated[Path, typer.Option(help="Tarball of @vladmandic/face-api 1.7.15.")]
Workers = Annotated[int, typer.Option(help="Processes, one thread each.", min=1)]


class Labeller:
    """Renders latents and measures the faces."""

    def __init__(self, face_api: Path) -> None:
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        self.generator = load_mobile_stylegan()
        self.attributes = FaceAttributes.from_package(face_api)
        self.faces = FaceAnalyzer()

    def __call__(self, ws: Tensor, identity: bool) -> tuple[np.ndarray, np.ndarray]:
        """Labels float32 [B, 8] and, if asked for, embeddings [B, 128]; NaN where there is not one face."""
        labels = np.full((len(ws), len(LABELS)), np.nan, np.float32)
        embeddings = np.full((len(ws), 128), np.nan, np.float32)
        with reused_memory():
            for i in range(len(ws)):
                image = to_pil(self.generator.synthesis(ws[i : i + 1], resolution=RESOLUTION)[0])
                faces = self.faces.detect(image)
                if len(faces) != 1:
                    continue
                labels[i] = self._labels(image, faces[0].landmarks)
                if identity:
                    embeddings[i] = embedding(image, faces[0])
        return labels, embeddings

    def _labels(self, image: Image.Image, landmarks: np.ndarray) -> list[float]:
        seen = {k: float(v) for k, v in self.attributes.predict([face_crop(image, landmarks)]).items()}
        unhappy = sum(seen[name] for name in EXPRESSIONS if name != "happy")
        pose = head_pose(landmarks)
        return [
            log_odds(seen["happy"], unhappy),
            seen["age"],
            log_odds(seen["female"], 1 - seen["female"]),
            *pose,
            eye_openness(landmarks),
            mouth_openness(landmarks),
        ]


def log_odds(p: float, q: float) -> float:
    """log p/q; probabilities saturate in fp32, hence the floor."""
    return float(np.log(max(p, 1e-12) / max(q, 1e-12)))


def to_pil(picture: Tensor) -> Image.Image:
    """Picture [3, H, W] in [-1, 1] → PIL image."""
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


_labeller: Labeller


def _start(face_api: Path) -> None:
    global _labeller
    _labeller = Labeller(face_api)


def _sample_chunk(path: Path) -> Path:
    """Draw, render and label one chunk; the seed is the chunk's number."""
    rng = torch.Generator().manual_seed(int(path.stem))
    generator = _labeller.generator
    z = torch.randn(CHUNK, generator.z_dim, generator=rng)
    psi = 0.7 + 0.3 * torch.rand(CHUNK, 1, generator=rng)
    w = generator.w_avg.lerp(generator.mapping(z), psi)
    labels, _ = _labeller(w, identity=False)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez(file, w=w.numpy(), labels=labels)
    unfinished.rename(path)
    return path


def pool(face_api: Path, workers: int) -> Any:
    return multiprocessing.get_context("spawn").Pool(workers, _start, (face_api,))


@app.command()
def sample(
    run: Run,
    face_api: FaceApi,
    samples: Annotated[int, typer.Option(help="Pictures to render and label.", min=CHUNK)] = 6000,
    workers: Workers = 2,
) -> None:
    """Draw latents, render them, label the faces."""
    folder = run / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:05d}.npz" for i in range(samples // CHUNK)]
    missing = [path for path in paths if not path.exists()]
    with pool(face_api, workers) as workers_:
        for _ in tqdm(workers_.imap_unordered(_sample_chunk, missing), total=len(missing)):
            pass


@app.command()
def fit() -> None:
    pass


if __name__ == "__main__":
    app()
