"""What the paper measures of one photograph and one method."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pti_hub.errors import InputError, MissingDependencyError
from pti_hub.evaluation.methods import Method
from pti_hub.faces import FaceAnalyzer, embedding, head_pose, widest
from pti_hub.generators import latent_statistics, tuned_synthesis
from pti_hub.images import to_tensor
from pti_hub.loops import reused_memory
from pti_hub.pipeline import PTIPipeline
from pti_hub.tuners import Personalization, add_deltas

EDITS = ("pose", "smile", "age")
"""The edits of Table 2, one step each way alone, one step each in sequence."""

_SMALL = 256


class Measurements:
    """Measures methods on photographs, and keeps what several methods share.

    Args:
        pipe: The pipeline; its own projector and tuner are not used.
        edits: Whether to measure edits as well, which needs faces and the directions of `EDITS`.
        seed: Seed of projection and tuning.

    Raises:
        InputError: Edits are asked for and the pipeline has not all directions.
        MissingDependencyError: The package `torchmetrics` is not installed.
    """

    def __init__(self, pipe: PTIPipeline, edits: bool = True, seed: int = 0) -> None:
        try:
            from torchmetrics.functional import image
        except ImportError as error:
            raise MissingDependencyError(
                "evaluation needs the package torchmetrics; install it: pip install 'pti-hub[evaluation]'"
            ) from error
        if edits and (missing := [name for name in EDITS if name not in pipe.edits]):
            raise InputError(f"{pipe.name!r} has no direction {', '.join(missing)}; measure without edits")
        self._image = image
        self.pipe, self.edits, self.seed = pipe, edits, seed
        self._faces = FaceAnalyzer() if edits or pipe.aligns_faces else None
        self._pivots: dict[tuple[Any, ...], tuple[Tensor, float]] = {}
        self._target: Tensor | None = None

    def __call__(self, method: Method, photograph: Image.Image) -> dict[str, float]:
        """All numbers of one method on one photograph; see `measure`."""
        pipe = self.pipe
        target = to_tensor(photograph, pipe.generator.resolution).to(pipe.device)
        if self._target is None or not torch.equal(self._target, target):
            self._pivots.clear()
            self._target = target
        # 1. The pivot, which a method and the same with tuning share.
        key = (type(method.projector), method.projector.config)
        if key not in self._pivots:
            start = time.perf_counter()
            projection = method.projector.project(pipe.generator, pipe.projector_perceptual, target, self.seed)
            self._pivots[key] = projection.pivot, time.perf_counter() - start
        pivot, seconds = self._pivots[key]
        # 2. Tuning.
        deltas: Mapping[str, Tensor] = {}
        start = time.perf_counter()
        if method.tuner is not None:
            deltas = method.tuner.tune(pipe.generator, pipe.perceptual, [pivot], [target], self.seed).deltas
        seconds += time.perf_counter() - start
        # 3. The reconstruction, and edits of it.
        weights = add_deltas(pipe.generator, deltas)
        with torch.no_grad(), reused_memory():
            picture = tuned_synthesis(pipe.generator, weights, pivot)
        row = {**self._reconstruction(picture, target), **latent_statistics(pipe.generator, [pivot])[0]}
        if self._faces is not None:
            row |= self._identities(Personalization(deltas, {"subject": pivot[0].cpu()}, pipe.base), photograph)
        return {**row, "seconds": seconds, "peak_gb": _peak(pipe.device)}

    def _reconstruction(self, picture: Tensor, target: Tensor) -> dict[str, float]:
        row: dict[str, Tensor] = {}
        small, small_target = (F.interpolate(x, size=_SMALL, mode="area") for x in (picture, target))
        with torch.no_grad():
            for network in {id(n): n for n in (self.pipe.perceptual, self.pipe.projector_perceptual)}.values():
                row[f"lpips_{network.net}"] = network(picture, target)
                row[f"lpips_{network.net}_{_SMALL}"] = network(small, small_target)
        row["mse"] = F.mse_loss(picture, target)
        shown = picture.clamp(-1, 1)
        row["psnr"] = self._image.peak_signal_noise_ratio(shown, target, data_range=2.0)
        similarity = self._image.multiscale_structural_similarity_index_measure(shown, target, data_range=2.0)
        row["ms_ssim"] = 1 - similarity
        return {name: float(value.item()) for name, value in row.items()}

    def _identities(self, person: Personalization, photograph: Image.Image) -> dict[str, float]:
        original, _ = self._look(photograph)
        plain, yaw = self._look(self.pipe.edit(person)[0])
        row = {"identity": similarity(original, plain)}
        if not self.edits:
            return row
        for edit in EDITS:
            for sign in (1, -1):
                edited, turned = self._look(self.pipe.edit(person, (edit, float(sign)))[0])
                row[f"identity_{edit}{sign:+d}"] = similarity(original, edited)
                if edit == "pose":
                    row[f"yaw{sign:+d}"] = abs(turned - yaw)
        row["identity_sequential"] = similarity(original, self._look(self.pipe.edit(person, list(EDITS))[0])[0])
        for degrees in (5, -5, 10, -10):
            try:
                turned_picture = self.pipe.edit(person, f"pose={degrees}deg")[0]
            except InputError:
                # It does not turn so far, or no face is left.
                row[f"identity_yaw{degrees:+d}"] = float("nan")
            else:
                row[f"identity_yaw{degrees:+d}"] = similarity(original, self._look(turned_picture)[0])
        return row

    def _look(self, picture: Image.Image) -> tuple[np.ndarray, float]:
        """Embedding and yaw of the widest face; not a number where there is none."""
        assert self._faces is not None
        face = widest(self._faces.detect(picture))
        if face is None:
            return np.full(128, np.nan, np.float32), float("nan")
        return embedding(picture, face), head_pose(face.landmarks).yaw


def measure(pipe: PTIPipeline, method: Method, photograph: Image.Image, edits: bool = True) -> dict[str, float]:
    """Measure one method on one photograph.

    Args:
        pipe: The pipeline.
        method: The method.
        photograph: Aligned as the generator needs it.
        edits: Whether to measure edits as well.

    Returns:
        `lpips_alex`, `lpips_vgg` at full size and, with `_256`, at 256²; `mse` of pixel values in [-1, 1]; `psnr` in
        dB; `ms_ssim`, which is 1 − MS-SSIM as the paper prints it; what `latent_statistics` says of the pivot;
        `identity`, `identity_pose+1`, … , `identity_sequential` and `identity_yaw+5`, …, similarities of the face to
        the photograph's; `yaw+1` and `yaw-1`, the turn of the head in degrees; `seconds`; `peak_gb` of the process so
        far, or of the GPU. Not a number is what could not be measured: no face was found.
    """
    return Measurements(pipe, edits)(method, photograph)


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of the angle between two embeddings."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
