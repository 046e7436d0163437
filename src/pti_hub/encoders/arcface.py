"""ArcFace's face embedding (Deng et al. 2019), the identity measure of e4e, pSp and the paper on Pivotal Tuning."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from pti_hub.encoders.ir_se import ResidualBody
from pti_hub.faces import Face, align
from pti_hub.images import to_tensor
from pti_hub.storage import Network

# The face region of an FFHQ-aligned picture of 256² pixels: top, bottom, left, right.
_CROP = (35, 223, 32, 220)


class ArcFace(ResidualBody, Network, tags=["face-recognition"]):
    """IR-SE50 with ArcFace's head: maps pictures of the same person to nearby points on a sphere."""

    def __init__(self) -> None:
        super().__init__()
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512), nn.Identity(), nn.Flatten(), nn.Linear(512 * 7 * 7, 512), nn.BatchNorm1d(512)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map FFHQ-aligned pictures `[B, 3, H, H]` in [-1, 1] to unit vectors `[B, 512]`; differentiable.

        Args:
            images: Pictures of any size H; they are resized.
        """
        top, bottom, left, right = _CROP
        faces = F.adaptive_avg_pool2d(images, 256)[:, :, top:bottom, left:right]  # [B, 3, 188, 188]
        return F.normalize(self.output_layer(self.features(F.adaptive_avg_pool2d(faces, 112))[-1]))

    @torch.no_grad()
    def embedding(self, picture: Image.Image, face: Face) -> np.ndarray:
        """Embed one face of a picture; has the signature of `pti_hub.faces.embedding`.

        Args:
            picture: The picture, of any size.
            face: A face in the picture.

        Returns:
            Unit vector `[512]`; compare two with `pti_hub.faces.identity_distance`.
        """
        device = next(self.parameters()).device
        image = to_tensor(align(picture, face.landmarks, 256), 256).to(device)
        return self.eval()(image)[0].cpu().numpy()
