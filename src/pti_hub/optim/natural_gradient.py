"""Natural gradients in W: a step is not ruled by the few directions that change the picture most (Amari 1998)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pti_hub.errors import InputError


@dataclass(frozen=True, eq=False)
class GradientPreconditioner:
    """The leading eigenvectors of F = E[g gᵀ], g = ∇_w LPIPS(G(w), x): how sensitive pictures are to w.

    F stands in for the curvature of Eq. 1 and is the same everywhere in W. Some 40 of 512 axes have nine tenths of
    the trace of F, and a plain gradient sees little of the other axes.

    Attributes:
        axes: Orthonormal rows `[k, w_dim]`.
        sensitivity: Eigenvalues `[k]` of these axes over the largest eigenvalue, which is the first.
    """

    axes: Tensor
    sensitivity: Tensor

    @classmethod
    def of(cls, gradients: Tensor, num_axes: int) -> GradientPreconditioner:
        """Estimate F from gradients.

        Args:
            gradients: `[N, w_dim]`; rows that are not finite are left out.
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
        """The natural gradient (F + δ)⁻¹ g up to a factor; F is cut to its axes, over its largest eigenvalue.

        Args:
            gradient: g, `[..., w_dim]`.
            damping: δ, above 0; the larger, the nearer to the plain gradient.
        """
        held_back = self.sensitivity / (self.sensitivity + damping)
        return gradient - (gradient @ self.axes.T * held_back) @ self.axes


class NaturalGradientDescent(torch.optim.Optimizer):
    """w ← w − η d / ‖d‖ with the natural gradient d; it has no state.

    Every step has the length η, because the slope of LPIPS tells little about the distance that is left.

    Args:
        w: `[1, w_dim]`, or `[1, num_ws, w_dim]`, whose layers share the preconditioner and the root mean square ‖d‖.
        preconditioner: F.
        lr: η.
        damping: δ, see `GradientPreconditioner.natural`.
    """

    def __init__(self, w: Tensor, preconditioner: GradientPreconditioner, lr: float, damping: float) -> None:
        super().__init__([w], {"lr": lr, "damping": damping})
        self.preconditioner = GradientPreconditioner(preconditioner.axes.to(w), preconditioner.sensitivity.to(w))

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step; a closure is not called.

        Args:
            closure: Of no effect; `torch.optim.Optimizer` has it.
        """
        for group in self.param_groups:
            for w in group["params"]:
                d = self.preconditioner.natural(w.grad, group["damping"])
                w -= group["lr"] * d / d.square().sum(-1).mean().sqrt().clamp_min(1e-12)
