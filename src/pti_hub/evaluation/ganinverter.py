"""GANInverter's benchmark (Cao et al. 2022): its measurements, as its `scripts/test.py` defines them, and its results.

The published results are of StyleGAN2, the 2824 photographs of CelebA-HQ's test split, and an RTX 3090.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pti_hub.images import to_tensor
from pti_hub.perceptual import LPIPS

SIZE = 256

PUBLISHED: dict[str, tuple[float, float, float, float | None]] = {
    "projection, W": (0.1967, 0.0670, 15.8460, None),
    "projection, W+": (0.1092, 0.0242, 20.5940, None),
    "pSp": (0.1591, 0.0345, 18.0348, 0.041),
    "e4e": (0.1974, 0.0472, 16.6616, 0.042),
    "LSAP": (0.1765, 0.0391, 17.4958, 0.042),
    "ReStyle, e4e": (0.1904, 0.0428, 17.0903, 0.15),
    "HyperStyle": (0.0985, 0.0219, 20.0864, 0.162),
    "PTI": (0.0817, 0.0082, 24.6131, 59),
    "HFGI, e4e": (0.1166, 0.0210, 20.1402, 0.067),
    "SAM, e4e": (0.1442, 0.0193, 20.5933, 67),
    "SAM, LSAP": (0.1205, 0.0152, 21.6179, 67),
    "DHR, e4e": (0.0438, 0.0035, 28.1661, 12),
    "DHR, LSAP": (0.0422, 0.0034, 28.2786, 12),
}
"""LPIPS, MSE, PSNR and seconds per photograph, by method: version 1 of the benchmark (2023)."""


@torch.no_grad()
def ganinverter(picture: Tensor, photograph: Image.Image, networks: Iterable[LPIPS]) -> dict[str, float]:
    """Measure a reconstruction as the benchmark does.

    The picture is cut to 8 bits, and both are reduced to 256² by bilinear interpolation with antialiasing: the picture
    as floats, the photograph by Pillow. Pixel values are in [-1, 1].

    Args:
        picture: G(w_p; θ*) `[1, 3, R, R]`.
        photograph: The photograph, a square picture.
        networks: LPIPS networks.

    Returns:
        `ganinverter_lpips_alex` and so on for each network; `ganinverter_mse`; and `ganinverter_psnr`, which is
        10 log₁₀(2 / MSE) there, 3.01 dB below the usual definition (the range is 2, whose square is 4).
    """
    shown = ((picture.clamp(-1, 1) + 1) * 127.5).to(torch.uint8).float() / 127.5 - 1
    small = F.interpolate(shown, size=(SIZE, SIZE), mode="bilinear", antialias=True)
    target = to_tensor(photograph.resize((SIZE, SIZE), Image.Resampling.BILINEAR)).to(picture.device)
    mse = F.mse_loss(small, target).item()
    distances = {f"ganinverter_lpips_{network.net}": network(small, target).item() for network in networks}
    return {**distances, "ganinverter_mse": mse, "ganinverter_psnr": 10 * math.log10(2 / mse) if mse else math.inf}
