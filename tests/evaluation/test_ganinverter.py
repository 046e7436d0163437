"""GANInverter's measurements, against Pillow, scikit-image and torchmetrics."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.needs import needs_evaluation

from pti_hub import InputError, PTIPipeline
from pti_hub.evaluation import Measurements
from pti_hub.evaluation.ganinverter import PUBLISHED, ganinverter
from pti_hub.perceptual import LPIPS

pytestmark = needs_evaluation


def test_as_pillow_and_scikit_image_measure_it() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    random = np.random.default_rng(0)
    # Beyond what can be shown, too.
    picture = random.uniform(-1.2, 1.2, (3, 512, 512)).astype(np.float32)
    photograph = Image.fromarray(random.integers(0, 256, (512, 512, 3), np.uint8))
    network = LPIPS("alex")
    got = ganinverter(torch.from_numpy(picture)[None], photograph, [network])
    # Pillow reduces pictures of floats, too.
    bytes_ = np.floor(np.clip((picture + 1) / 2 * 255, 0, 255))
    small = [np.asarray(Image.fromarray(c).resize((256, 256), Image.Resampling.BILINEAR)) for c in bytes_]
    a = np.stack(small).astype(np.float64) / 127.5 - 1
    b = np.asarray(photograph.resize((256, 256), Image.Resampling.BILINEAR)).transpose(2, 0, 1) / 127.5 - 1
    assert got["ganinverter_mse"] == pytest.approx(metrics.mean_squared_error(a, b), rel=1e-4)
    usual = metrics.peak_signal_noise_ratio(b, a, data_range=2)
    assert got["ganinverter_psnr"] == pytest.approx(usual - 10 * math.log10(2), abs=1e-3)
    distance = network(*(torch.from_numpy(x)[None].float() for x in (a, b))).item()
    assert got["ganinverter_lpips_alex"] == pytest.approx(distance, rel=1e-3)


def test_an_equal_picture() -> None:
    photograph = Image.new("RGB", (300, 300), (10, 200, 255))
    picture = torch.tensor([10, 200, 255]).view(1, 3, 1, 1).expand(1, 3, 300, 300) / 127.5 - 1
    # Not quite a whole number, which is cut and not rounded.
    assert ganinverter(picture + 1e-4, photograph, [])["ganinverter_mse"] < 1e-9
    assert ganinverter(picture - 1e-3, photograph, [])["ganinverter_mse"] == pytest.approx((1 / 127.5) ** 2, rel=1e-3)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers_fit_the_definition(name: str) -> None:
    _, mse, psnr, _ = PUBLISHED[name]
    # The mean of a convex function is at least the function of the mean.
    assert 0 <= psnr - 10 * math.log10(2 / mse) < 2


def test_another_lpips(large_pipe: PTIPipeline, photos: Path) -> None:
    large_pipe.perceptual = large_pipe.projector_perceptual = LPIPS("vgg")
    with pytest.raises(InputError, match="'tiny' has no LPIPS of AlexNet, which ganinverter needs"):
        Measurements(large_pipe).check(["ganinverter"])
