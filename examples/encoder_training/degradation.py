"""Degradation of pictures to resemble photographs: misaligned, blurred, off in colour, noisy, compressed."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor


def to_bytes(pictures: Tensor) -> Tensor:
    """Convert floats in [-1, 1] to uint8."""
    return (pictures.float() * 127.5 + 127.5).round().clamp(0, 255).byte()


def to_floats(pictures: Tensor) -> Tensor:
    """Convert uint8 to floats in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def degraded(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Degrade pictures `[B, 3, H, W]` in [-1, 1] to resemble photographs.

    Each kind of degradation affects a random part of the batch, at a random strength for each picture.
    """
    batch, _, height, width = pictures.shape
    device = pictures.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=random, device=device)

    def sometimes(share: float) -> Tensor:
        return (uniform() < share).float()

    # 1. Misalignment: rotation by up to 4°, scaling by up to 5 %, and a shift by up to 3 % of the width.
    angle = (uniform() - 0.5) * 0.14
    scale = 1 + (uniform() - 0.5) * 0.1
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    shift = (uniform(2) - 0.5) * 0.12
    theta = torch.stack([cosine, -sine, shift[:, 0], sine, cosine, shift[:, 1]], 1).view(batch, 2, 3)
    identity = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], device=device)
    theta = torch.where(sometimes(0.75)[:, None, None] > 0, theta, identity)
    grid = F.affine_grid(theta, [batch, 3, height, width], align_corners=False)
    x = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    # 2. Gaussian blur with a standard deviation of up to 1 % of the width.
    sigma = (sometimes(0.5) * uniform() * 0.01 * width).clamp_min(1e-3)
    reach = math.ceil(0.025 * width)
    offsets = torch.arange(-reach, reach + 1, device=device)
    kernel = (-0.5 * (offsets / sigma[:, None]).square()).exp()  # [B, taps]
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)[:, None, None]
    x = F.pad(x, [reach] * 4, mode="reflect").view(1, batch * 3, height + 2 * reach, width + 2 * reach)
    x = F.conv2d(x, kernel, groups=batch * 3)
    x = F.conv2d(x, kernel.transpose(2, 3), groups=batch * 3).view(batch, 3, height, width)
    # 3. Colour: contrast and brightness, of all channels together and of each channel.
    coloured = sometimes(0.5)[:, None, None, None]
    gain = 1 + coloured * ((uniform(1, 1, 1) - 0.5) * 0.3 + (uniform(3, 1, 1) - 0.5) * 0.1)
    x = x * gain + coloured * ((uniform(1, 1, 1) - 0.5) * 0.2 + (uniform(3, 1, 1) - 0.5) * 0.06)
    # 4. Noise.
    sigma = (sometimes(0.4) * uniform() * 0.15)[:, None, None, None]
    x = (x + sigma * torch.randn(x.shape, generator=random, device=device)).clamp(-1, 1)
    # 5. JPEG.
    quality = (30 + 65 * uniform()).int().tolist()
    for i, compressed in enumerate(sometimes(0.3).tolist()):
        if compressed:
            x[i] = to_floats(through_jpeg(to_bytes(x[i]), quality[i])).to(device)
    return x


def through_jpeg(picture: Tensor, quality: int) -> Tensor:
    """Encode a uint8 picture `[3, H, W]` as JPEG and decode it again."""
    buffer = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).cpu().numpy()).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)
