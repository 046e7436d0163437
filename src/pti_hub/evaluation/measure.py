"""The paper's measurements for one method on one photograph."""

from __future__ import annotations

import dataclasses
import re
import resource
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from pti_hub.errors import InputError, MissingDependencyError
from pti_hub.evaluation.ganinverter import ganinverter
from pti_hub.evaluation.methods import Method
from pti_hub.evaluation.samples import SampleDistance
from pti_hub.faces import AlignedFace, Face, FaceAnalyzer, Likeness, embedding, head_pose, widest
from pti_hub.generators import latent_statistics, tuned_synthesis
from pti_hub.images import to_tensor
from pti_hub.optim import reused_memory
from pti_hub.perceptual import LPIPS
from pti_hub.personalization import Personalization, add_deltas
from pti_hub.pipelines import PTIPipeline
from pti_hub.storage import fingerprint

METRICS = ("reconstruction", "identity", "edits", "drift", "fid", "ganinverter")
"""Groups of numbers: distance between reconstruction and photograph; identity; identity and pose after edits; change of
random latents' pictures; change of the distribution of random samples; that distance as GANInverter measures it."""

PICTURES = "pictures"
"""The group of small pictures for viewing, in addition to `METRICS`."""

EDITS = ("pose", "smile", "age")
"""The edits of Table 2: each alone, by one step either way, and all in sequence, by one step each."""

_SMALL = 256
_DEGREES = (5, -5, 10, -10)


@dataclass(frozen=True)
class Measured:
    """Measurements of one method on one photograph.

    Attributes:
        values: Numbers by name; see `Measurements.__call__`.
        pictures: Pictures of 256² px by what they show: `"reconstruction"`, an edit's name, or `"all"` for all edits in
            sequence.
    """

    values: dict[str, float]
    pictures: dict[str, Image.Image]


class Measurements:
    """Measures methods on photographs, and caches what several methods share.

    Args:
        pipe: The pipeline; the methods replace its projector and tuner.
        seed: Seed of projection and tuning.
        identity: Embeds a face in a picture: dlib's embedding by default, or `ArcFace.embedding` of `pti_hub.encoders`.
        latents: Number of random latents for the group `"drift"`.
        samples: Number of random samples for the group `"fid"`.

    Raises:
        MissingDependencyError: The package `torchmetrics` is not installed.
    """

    def __init__(
        self,
        pipe: PTIPipeline,
        seed: int = 0,
        identity: Callable[[Image.Image, Face], np.ndarray] = embedding,
        latents: int = 50,
        samples: int = 1000,
    ) -> None:
        try:
            from torchmetrics.functional import image
        except ImportError as error:
            raise MissingDependencyError(
                "evaluation needs the package torchmetrics; install it: pip install 'pti-hub[evaluation]'"
            ) from error
        self._image = image
        self.pipe, self.seed, self.latents, self.samples = pipe, seed, latents, samples
        self._embedding = identity
        self._distance: SampleDistance | None = None
        self._pivots: dict[tuple[Any, ...], tuple[Tensor, np.ndarray]] = {}
        self._target: Tensor | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What the numbers depend on, apart from methods and photographs, as values for JSON."""
        pipe, parts = self.pipe, (self.pipe.projector, self.pipe.tuner)
        model: dict[str, Any] = pipe.base.to_json()
        if isinstance(pipe.encoder, nn.Module):
            model = {**model, "encoder": fingerprint(pipe.encoder)}
        return {
            "model": model,
            "latents": self.latents,
            "samples": self.samples,
            "seed": self.seed,
            "pipeline": [type(pipe.projector).__name__, *(dataclasses.asdict(part.config) for part in parts)],
        }

    def check(self, groups: Collection[str]) -> None:
        """Check, before long work, that these groups can be measured.

        Args:
            groups: Names of groups of numbers, of `METRICS`.

        Raises:
            InputError: A group is unknown, or the pipeline lacks something that a group needs.
            MissingDependencyError: A package is not installed, or its weights can't be downloaded.
        """
        if unknown := [group for group in groups if group not in (*METRICS, PICTURES)]:
            raise InputError(f"no metric is named {', '.join(unknown)}; there are {', '.join(METRICS)}")
        if "edits" in groups and (missing := [name for name in EDITS if name not in self.pipe.edits]):
            raise InputError(f"{self.pipe.name!r} has no direction {', '.join(missing)}; measure without edits")
        if {"identity", "edits"} & set(groups):
            FaceAnalyzer()
        if "ganinverter" in groups and "alex" not in [network.net for network in self._networks()]:
            raise InputError(f"{self.pipe.name!r} has no LPIPS of AlexNet, which ganinverter needs; measure without it")
        if "fid" in groups and self._distance is None:
            self._distance = SampleDistance(self.pipe, self.samples)

    def __call__(
        self, method: Method, photograph: Image.Image, groups: Collection[str] = ("reconstruction", "identity")
    ) -> Measured:
        """Measure one method on one photograph.

        Args:
            method: The method.
            photograph: The photograph, aligned as the generator needs it.
            groups: Groups from `METRICS`, and `PICTURES`.

        Returns:
            What `of` measures, and always: `seconds` of projection and tuning; `cpu_seconds`, the time of all cores for
            them, which other work on the machine lengthens less; `steps` of tuning; and `peak_gb`, the peak memory of
            the process or the GPU.

        Raises:
            InputError: A group is unknown, or the pipeline lacks something that a group needs.
            MissingDependencyError: A package is not installed.
        """
        self.check(groups)
        pipe = self.pipe
        target = self._target_of(photograph)
        if self._target is None or not torch.equal(self._target, target):
            self._pivots.clear()
            self._target = target
        _reset_peak(pipe.device)
        # 1. The pivot, which a method with tuning shares with the same method without tuning.
        key = (type(method.projector), method.projector.config, id(getattr(method.projector, "encoder", None)))
        if key not in self._pivots:
            start = _clocks()
            projection = method.projector.project(pipe.generator, pipe.projector_perceptual, target, self.seed)
            self._pivots[key] = projection.pivot, _clocks() - start
        pivot, seconds = self._pivots[key]
        # 2. Tuning, which may also move the pivot.
        deltas: Mapping[str, Tensor] = {}
        steps = 0
        if method.tuner is not None:
            likenesses = [self._likeness(photograph, target) if method.tuner.config.weighs_faces else None]
            start = _clocks()
            tuning = method.tuner.tune(
                pipe.generator, pipe.perceptual, [pivot], [target], self.seed, likenesses=likenesses
            )
            seconds = seconds + _clocks() - start
            deltas, pivot, steps = tuning.deltas, tuning.pivots[0], tuning.num_steps
        wall, processor = seconds.tolist()
        values = {"seconds": wall, "cpu_seconds": processor, "steps": steps, "peak_gb": _peak(pipe.device)}
        # 3. The numbers.
        measured = self.of(deltas, pivot, photograph, groups)
        return Measured(values | measured.values, measured.pictures)

    def of(
        self, deltas: Mapping[str, Tensor], pivot: Tensor, photograph: Image.Image, groups: Collection[str]
    ) -> Measured:
        """Measure what was learned from one photograph, by whatever means.

        Args:
            deltas: θ* − θ by parameter name; empty where nothing was tuned.
            pivot: w_p `[1, w_dim]` or `[1, num_ws, w_dim]`.
            photograph: The photograph, aligned as the generator needs it.
            groups: Groups from `METRICS`, and `PICTURES`.

        Returns:
            `"reconstruction"`: `lpips_alex` and `lpips_vgg` at full size, and with the suffix `_256` at 256²; `mse` of
            pixel values in [-1, 1]; `psnr` in dB; `ms_ssim`, which is 1 − MS-SSIM as the paper reports it; and the
            pivot's `latent_statistics`.

            `"identity"`: `identity`, the cosine similarity between the embeddings of the reconstructed face and of the
            photographed face. `"edits"`: this similarity after edits, as `identity_pose+1`, …, `identity_sequential`,
            `identity_yaw+5`, …; and the turn of the head in degrees, as `yaw+1` and `yaw-1`. Numbers are NaN where no
            face was found.

            `"drift"`: `drift_lpips` and `drift_mse` between the tuned and the original generator's pictures of random
            latents (Fig. 15). `"fid"`: see `SampleDistance`. `"ganinverter"`: see `ganinverter`.

        Raises:
            InputError: A group is unknown, or the pipeline lacks something that a group needs.
            MissingDependencyError: A package is not installed.
        """
        self.check(groups)
        pipe, target, values = self.pipe, self._target_of(photograph), dict[str, float]()
        pivot, weights = pivot.to(pipe.device), add_deltas(pipe.generator, deltas)
        with torch.no_grad(), reused_memory():
            picture = tuned_synthesis(pipe.generator, weights, pivot)
        if "reconstruction" in groups:
            values |= self._reconstruction(picture, target)
            values |= latent_statistics(pipe.generator, [pivot])[0]
        if "ganinverter" in groups:
            values |= ganinverter(picture, photograph, self._networks())
        if "drift" in groups:
            values |= self._drift(weights)
        if "fid" in groups:
            assert self._distance is not None
            values |= self._distance(weights)
        render = _Renderer(pipe, Personalization(deltas, {"subject": pivot[0].cpu()}, pipe.base))
        if {"identity", "edits"} & set(groups):
            values |= self._identities(render, photograph, "edits" in groups)
        return Measured(values, render.small() if PICTURES in groups else {})

    def _target_of(self, photograph: Image.Image) -> Tensor:
        return to_tensor(photograph, self.pipe.generator.resolution).to(self.pipe.device)

    def _networks(self) -> list[LPIPS]:
        networks = (self.pipe.projector_perceptual, self.pipe.perceptual)
        return list({network.net: network for network in networks}.values())

    def _likeness(self, photograph: Image.Image, target: Tensor) -> Likeness | None:
        """The face of the photograph, where the pipeline would look for one."""
        face = widest(FaceAnalyzer().detect(photograph)) if self.pipe.aligns_faces else None
        landmarks = None if face is None else AlignedFace.whole(photograph, face).landmarks
        return None if landmarks is None else Likeness(target, landmarks)

    def _reconstruction(self, picture: Tensor, target: Tensor) -> dict[str, float]:
        row: dict[str, Tensor] = {}
        small, small_target = (F.interpolate(x, size=_SMALL, mode="area") for x in (picture, target))
        with torch.no_grad():
            for network in self._networks():
                row[f"lpips_{network.net}"] = network(picture, target)
                row[f"lpips_{network.net}_{_SMALL}"] = network(small, small_target)
        row["mse"] = F.mse_loss(picture, target)
        shown = picture.clamp(-1, 1)
        row["psnr"] = self._image.peak_signal_noise_ratio(shown, target, data_range=2.0)
        # The window of 11 px at five scales needs pictures larger than 160 px.
        if min(target.shape[2:]) > 160:
            similarity = self._image.multiscale_structural_similarity_index_measure(shown, target, data_range=2.0)
            row["ms_ssim"] = 1 - similarity
        return {name: float(value.item()) for name, value in row.items()}

    @torch.no_grad()
    def _drift(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        generator, perceptual = self.pipe.generator, self.pipe.perceptual
        z = torch.randn(self.latents, generator.z_dim, generator=torch.Generator().manual_seed(1000))
        total = torch.zeros(2)
        with reused_memory():
            for w in generator.mapping(z.to(self.pipe.device)):
                before, after = generator.synthesis(w[None]), tuned_synthesis(generator, weights, w[None])
                total += torch.tensor([perceptual(after, before).item(), F.mse_loss(after, before).item()])
        lpips, mse = (total / self.latents).tolist()
        return {"drift_lpips": lpips, "drift_mse": mse}

    def _identities(self, render: _Renderer, photograph: Image.Image, edits: bool) -> dict[str, float]:
        original, _ = self._face(photograph)
        plain, yaw = self._face(render())
        row = {"identity": similarity(original, plain)}
        if not edits:
            return row
        for edit in EDITS:
            for sign in (1, -1):
                edited, turned = self._face(render((edit, f"raw:{sign}")))
                row[f"identity_{edit}{sign:+d}"] = similarity(original, edited)
                if edit == "pose":
                    row[f"yaw{sign:+d}"] = abs(turned - yaw)
        row["identity_sequential"] = similarity(original, self._face(render(*EDITS))[0])
        for degrees in _DEGREES:
            try:
                turned_picture = render(f"pose={degrees}deg")
            except InputError:
                # The direction does not turn the head that far, or no face is left.
                row[f"identity_yaw{degrees:+d}"] = float("nan")
            else:
                row[f"identity_yaw{degrees:+d}"] = similarity(original, self._face(turned_picture)[0])
        return row

    def _face(self, picture: Image.Image) -> tuple[np.ndarray, float]:
        """Embedding and yaw of the widest face; NaN if there is no face."""
        face = widest(FaceAnalyzer().detect(picture))
        if face is None:
            return np.full(1, np.nan, np.float32), float("nan")
        return self._embedding(picture, face), head_pose(face.landmarks).yaw


class _Renderer:
    """Renders edits of one personalisation, each of them once."""

    def __init__(self, pipe: PTIPipeline, person: Personalization) -> None:
        self._pipe, self._person = pipe, person
        self._rendered: dict[tuple[Any, ...], Image.Image] = {}

    def __call__(self, *edits: Any) -> Image.Image:
        # The name of an edit alone means its vector: the same step in latent space for every method.
        key = tuple((edit, "raw:1") if edit in EDITS else edit for edit in edits)
        if key not in self._rendered:
            self._rendered[key] = self._pipe.edit(self._person, list(key) or None)[0]
        return self._rendered[key]

    def small(self) -> dict[str, Image.Image]:
        """Small pictures for viewing, by what they show."""
        available = [edit for edit in EDITS if edit in self._pipe.edits]
        views: dict[str, tuple[Any, ...]] = {"reconstruction": (), **{edit: ((edit, "raw:1"),) for edit in available}}
        if len(available) > 1:
            views["all"] = tuple(available)
        return {name: thumbnail(self(*edits)) for name, edits in views.items()}


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of the angle between two embeddings."""
    return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b)))


def thumbnail(picture: Image.Image) -> Image.Image:
    """A picture scaled to 256² px."""
    return picture.resize((_SMALL, _SMALL), Image.Resampling.LANCZOS)


def _clocks() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def _peak(device: torch.device) -> float:
    """Peak memory in GB since `_reset_peak`, or since the process began if the system can't reset the peak."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    with suppress(OSError, AttributeError):
        match = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        return int(cast("re.Match[str]", match)[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
