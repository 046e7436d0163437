"""Where a latent lies in W and S, which indicates how editable it is (Tov et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pti_hub.generators.protocol import Generator, broadcast_ws


@torch.no_grad()
def latent_statistics(
    generator: Generator, latents: Sequence[Tensor], num_samples: int = 10_000, seed: int = 123
) -> list[dict[str, float]]:
    """Distances of latents from the mean of W and S; the larger they are, the weaker the effect of edits.

    Args:
        generator: The generator whose mapping network is sampled for the variance of S.
        latents: Latents, each `[1, w_dim]` or `[1, num_ws, w_dim]`.
        num_samples: Number of z drawn.
        seed: Seed of the draw.

    Returns:
        One dictionary per latent. `"w_distance"` is ‖w − w̄‖₂; for a W+ code, the root mean square over layers.
        `"truncation"` is `w_distance` in units of `w_std`: the ψ at which a typical sample is equally far away.
        `"s_distance"` is the deviation from the mean style in standard deviations, as the root mean square over all
        style channels; it is 1 for a typical sample. S is the space after the affine maps (Wu et al. 2021).
    """
    z = torch.randn(num_samples, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    w_avg = generator.w_avg.float()
    w = generator.mapping(z.to(generator.w_avg)).float() - w_avg  # [N, w_dim]
    covariance = w.T @ w / num_samples  # [w_dim, w_dim]
    styles = generator.style_layers()
    layers = [torch.cat([s.weight.float() for s in styles if s.w == i]) for i in range(generator.num_ws)]
    variances = [((a @ covariance) * a).sum(1).clamp_min(1e-12) for a in layers]  # [channels] per layer
    statistics = []
    for latent in latents:
        offsets = (broadcast_ws(generator, latent.to(w_avg)) - w_avg)[0]  # [num_ws, w_dim]
        w_distance = offsets.square().sum(1).mean().sqrt().item()
        scores = [(a @ d).square() / v for a, v, d in zip(layers, variances, offsets, strict=True)]
        statistics.append(
            {
                "w_distance": w_distance,
                "truncation": w_distance / generator.w_std.item(),
                "s_distance": torch.cat(scores).mean().sqrt().item(),
            }
        )
    return statistics
