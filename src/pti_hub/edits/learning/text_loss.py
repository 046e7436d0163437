"""What an edit in words asks of a picture: nearness to the phrase, and to the picture before the edit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from pti_hub.edits.learning.words import PhraseDistance
from pti_hub.generators import Generator, tuned_synthesis
from pti_hub.optim import mixed_precision
from pti_hub.perceptual import LPIPS, TargetFeatures

Embedder: TypeAlias = Callable[[Tensor], Tensor]
"""Pictures `[B, 3, R, R]` in [-1, 1] → vectors `[B, D]`, differentiable, such as `pti_hub.encoders.ArcFace`."""

# LPIPS accepts no smaller pictures.
_SMALLEST = 32


class PictureLosses(NamedTuple):
    """Distances of edited pictures, `[B]` each.

    Attributes:
        phrase: D_CLIP to the phrase.
        identity: To the picture before the edit.
    """

    phrase: Tensor
    identity: Tensor


class TextLoss:
    """Renders a latent before and after an edit, and compares (Patashnik et al. 2021, Eq. 1, 2 and section 5).

    The identity loss is 1 - cos of the embeddings before and after, or LPIPS where there is no embedder. Pictures are
    rendered at the least resolution that the text model need not enlarge.

    Args:
        generator: G.
        weights: θ* by parameter name; weights that are not named are the generator's own.
        distance: D_CLIP to the phrase.
        identity: LPIPS, or a network that embeds identities.
    """

    def __init__(
        self,
        generator: Generator,
        weights: Mapping[str, Tensor],
        distance: PhraseDistance,
        identity: LPIPS | Embedder,
    ) -> None:
        self.generator, self.distance, self.identity = generator, distance, identity
        self.weights = {name: p.detach() for name, p in (dict(generator.named_parameters()) | dict(weights)).items()}
        self.resolution = generator.resolution
        while self.resolution // 2 >= max(distance.resolution, _SMALLEST):
            self.resolution //= 2

    @torch.no_grad()
    def reference(self, before: Tensor) -> TargetFeatures | Tensor:
        """What `__call__` needs of the pictures of ws `[B, num_ws, w_dim]` before the edit.

        Args:
            before: Latents of the unedited faces.
        """
        picture = self.render(before)
        if isinstance(self.identity, LPIPS):
            with mixed_precision(picture.device):
                return self.identity.target_features(picture)
        return self.identity(picture)

    def __call__(self, after: Tensor, reference: TargetFeatures | Tensor) -> PictureLosses:
        """The losses of ws `[B, num_ws, w_dim]` after the edit, differentiable with respect to them.

        Args:
            after: Latents of the edited faces.
            reference: What `reference` gave for the same faces.
        """
        picture = self.render(after)
        if isinstance(self.identity, LPIPS):
            with mixed_precision(picture.device):
                identity = self.identity(picture, reference)
        else:
            assert isinstance(reference, Tensor)
            identity = 1 - F.cosine_similarity(self.identity(picture), reference, dim=-1)
        return PictureLosses(self.distance(picture), identity)

    def render(self, ws: Tensor) -> Tensor:
        """G(ws; θ*) `[B, 3, R, R]`.

        Args:
            ws: Latents `[B, num_ws, w_dim]`.
        """
        with mixed_precision(ws.device):
            return tuned_synthesis(self.generator, self.weights, ws, resolution=self.resolution).float()
