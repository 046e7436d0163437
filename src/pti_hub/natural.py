"""Natural gradients in W: directions in which the picture changes much are not taken for the only ones (Amari 1998)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """What a picture is sensitive to: the leading eigenvectors of F = E[g gᵀ], g = ∇_w LPIPS(G(w), x).

    F stands for the curvature of Eq. 1, everywhere in W the same. Of 512 axes some 60 have nine tenths of its trace,
    and a plain gradient sees little of the others.

    Attributes:
        axes: Orthonormal rows `[k, w_dim]`.
        sensitivity: Their eigenvalues `[k]`, the largest first.
    """

    axes: Tensor
    sensitivity: Tensor

    @classmethod
    def of(cls, gradients: Tensor, num_axes: int) -> Metric:
        """That of gradients `[N, w_dim]`."""
        values, vectors = torch.linalg.eigh(gradients.T @ gradients / len(gradients))
        return cls(vectors.T.flip(0)[:num_axes].contiguous(), values.flip(0)[:num_axes].clamp_min(0).contiguous())

    def natural(self, gradient: Tensor, damping: float) -> Tensor:
        """(F + δ)⁻¹ g up to a factor, δ = `damping` times the largest eigenvalue.

        Args:
            gradient: `[..., w_dim]`.
            damping: Above 0; the more, the nearer to the plain gradient.
        """
        delta = damping * self.sensitivity[0]
        held_back = self.sensitivity / (self.sensitivity + delta)
        return gradient - (gradient @ self.axes.T * held_back) @ self.axes


class NaturalDescent(torch.optim.Optimizer):
    """w ← w − η d / ‖d‖ with the natural gradient d; it remembers nothing.

    A step is as long as its rate: how steep LPIPS is tells little of how far there is to go.

    Args:
        w: `[1, w_dim]`, or `[1, num_ws, w_dim]` where η is the length of a mean layer's step.
        metric: F.
        lr: η.
        damping: See `Metric.natural`.
    """

    def __init__(self, w: Tensor, metric: Metric, lr: float, damping: float) -> None:
        super().__init__([w], {"lr": lr, "damping": damping})
        self.metric = metric

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one."""
        for group in self.param_groups:
            for w in group["params"]:
                d = self.metric.natural(w.grad, group["damping"])
                w -= group["lr"] * d / d.square().sum(-1).mean().sqrt().clamp_min(1e-12)
