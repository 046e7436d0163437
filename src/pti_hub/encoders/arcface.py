"""ArcFace's embedding of a face (Deng et al. 2019), the identity measure of e4e, pSp and the paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from PIL import Image
from torch import Tensor, nn

from pti_hub.encoders.ir_se import ResidualBody
from pti_hub.faces import Face, align
from pti_hub.images import to_tensor
from pti_hub.storage import fetch_folder, load_network

# The part of an FFHQ-aligned picture of 256² that holds the face: top, bottom, left, right.
_CROP = (35, 223, 32, 220)


class ArcFace(ResidualBody, PyTorchModelHubMixin, library_name="pti-hub", tags=["face-recognition"]):
    """IR-SE50 with its head: pictures to points on a sphere, near each other if they show one person."""

    def __init__(self) -> None:
        super().__init__()
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512), nn.Identity(), nn.Flatten(), nn.Linear(512 * 7 * 7, 512), nn.BatchNorm1d(512)
        )

    @classmethod
    def load(cls, name_or_path: str | Path) -> ArcFace:
        """The network of a folder that `pti-hub convert` wrote, or of a Hub repository.

        Raises:
            WeightsError: It can't be had, is damaged or of another network.
        """
        return load_network(cls, {}, fetch_folder(name_or_path) / "model.safetensors")

    def forward(self, images: Tensor) -> Tensor:
        """Unit vectors `[B, 512]` of FFHQ-aligned pictures `[B, 3, H, H]` in [-1, 1]; differentiable."""
        top, bottom, left, right = _CROP
        faces = F.adaptive_avg_pool2d(images, 256)[:, :, top:bottom, left:right]
        return F.normalize(self.output_layer(self.features(F.adaptive_avg_pool2d(faces, 112))[-1]))

    @torch.no_grad()
    def embedding(self, picture: Image.Image, face: Face) -> np.ndarray:
        """As `pti_hub.faces.embedding`, for `pti_hub.faces.identity_distance`: unit vector `[512]` of one face.

        Args:
            picture: The picture, of any size.
            face: One of its faces.
        """
        device = next(self.parameters()).device
        image = to_tensor(align(picture, face.landmarks, 256), 256).to(device)
        return self.eval()(image)[0].cpu().numpy()
