"""Locality regularisation: away from the pivot the tuned generator paints what the original one paints (Eq. 4-6)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from pti_hub.generators import Generator, broadcast_ws, tuned_synthesis
from pti_hub.optim import mixed_precision
from pti_hub.perceptual import LPIPS


def interpolated_code(pivot: Tensor, w_z: Tensor, alpha: float) -> Tensor:
    """w_r = w_p + α (w_z − w_p) / ‖w_z − w_p‖₂, the code at distance α from the pivot towards w_z (Eq. 4).

    The norm is taken over the whole code, all layers together. Only so do the paper's figures make sense (section A: at
    α = 60 a code is about as far as a random one, α = 120 is beyond all faces): in W two codes are about 14 apart.

    Args:
        pivot: w_p `[1, num_ws, w_dim]`.
        w_z: `[B, num_ws, w_dim]`, samples of the mapping network.
        alpha: α.

    Returns:
        w_r `[B, num_ws, w_dim]`.
    """
    direction = w_z - pivot
    # A random pivot may be the very code that is drawn.
    return pivot + alpha * direction / direction.flatten(1).norm(dim=1).clamp_min(1e-8)[:, None, None]


def locality_loss(
    generator: Generator,
    theta: Mapping[str, Tensor],
    perceptual: LPIPS,
    pivot: Tensor,
    z: Tensor,
    alpha: float = 30.0,
    l2_weight: float = 1.0,
) -> Tensor:
    """L_R = L_LPIPS(x_r, x_r*) + λ^R_L2 L_L2(x_r, x_r*) for one new w_r (Eq. 5).

    Called once per code rather than for a batch: for one picture the generator folds its styles into its weights, which
    is quicker, and gradients of several passes add up without their activations being in memory together.

    Args:
        generator: G with the original weights θ.
        theta: θ* by parameter name.
        perceptual: LPIPS.
        pivot: w_p `[1, w_dim]` or `[1, num_ws, w_dim]`.
        z: `[1, z_dim]`, drawn anew each time.
        alpha: α of Eq. 4.
        l2_weight: λ^R_L2.

    Returns:
        A scalar.
    """
    with torch.no_grad():
        with torch.autocast(pivot.device.type, enabled=False):
            w_z = broadcast_ws(generator, generator.mapping(z.to(generator.w_avg)).float())
            w_r = interpolated_code(broadcast_ws(generator, pivot), w_z, alpha)
        original = generator.synthesis(w_r.to(generator.w_avg)).float()
    picture = tuned_synthesis(generator, theta, w_r)
    with mixed_precision(pivot.device):
        distance = perceptual(picture, original).mean()
    return distance + l2_weight * F.mse_loss(picture, original)
