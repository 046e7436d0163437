"""Natural gradients in W: directions in which the picture changes much are not taken for the only ones (Amari 1998)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pti_hub.errors import InputError


@dataclass(frozen=True, eq=False)
class Metric:
    """What a picture is sensitive to: the leading eigenvectors of F = E[g gᵀ], g = ∇_w LPIPS(G(w), x).

    F stands for the curvature of Eq. 1, everywhere in W the same. Of 512 axes some 40 have nine tenths of its trace,
    and a plain gradient sees little of the others.

    Attributes:
        axes: Orthonormal rows `[k, w_dim]`.
        sensitivity: Their eigenvalues `[k]` over the largest, which is the first.
    """

    axes: Tensor
    sensitivity: Tensor

    @classmethod
    def of(cls, gradients: Tensor, num_axes: int) -> Metric:
        """That of gradients.

        Args:
            gradients: `[N, w_dim]`; those that are not finite are left out.
            num_axes: k, at most w_dim.

        Raises:
            InputError: All gradients are zero or not finite.
        """
        finite = gradients[gradients.isfinite().all(1)]
        if not finite.any():
            raise InputError(f"{len(gradients)} gradients, all of them zero or not finite; expected some of a picture")
        values, vectors = torch.linalg.eigh(finite.T @ finite / len(finite))
        sensitivity = (values / values[-1]).clamp_min(0)
        return cls(vectors.T.flip(0)[:num_axes].contiguous(), sensitivity.flip(0)[:num_axes].contiguous())

    def natural(self, gradient: Tensor, damping: float) -> Tensor:
        """(F + δ)⁻¹ g up to a factor, F cut to its axes and over its largest eigenvalue.

        Args:
            gradient: `[..., w_dim]`.
            damping: δ, above 0; the more, the nearer to the plain gradient.
        """
        held_back = self.sensitivity / (self.sensitivity + damping)
        return gradient - (gradient @ self.axes.T * held_back) @ self.axes


class NaturalDescent(torch.optim.Optimizer):
    """w ← w − η d / ‖d‖ with the natural gradient d; it remembers nothing.

    A step is as long as its rate: how steep LPIPS is tells little of how far there is to go.

    Args:
        w: `[1, w_dim]`, or `[1, num_ws, w_dim]`, whose layers share the metric and a root mean square ‖d‖.
        metric: F.
        lr: η.
        damping: δ, see `Metric.natural`.
    """

    def __init__(self, w: Tensor, metric: Metric, lr: float, damping: float) -> None:
        super().__init__([w], {"lr": lr, "damping": damping})
        self.metric = Metric(metric.axes.to(w), metric.sensitivity.to(w))

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one."""
        for group in self.param_groups:
            for w in group["params"]:
                d = self.metric.natural(w.grad, group["damping"])
                w -= group["lr"] * d / d.square().sum(-1).mean().sqrt().clamp_min(1e-12)
