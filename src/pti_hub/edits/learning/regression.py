"""From labels of latents to steps in latent space: ridge regression, and steps that change one label alone."""

from __future__ import annotations

import torch
from torch import Tensor

_PENALTIES = torch.logspace(-1.5, 1, 11, dtype=torch.float64)
_FOLDS = 5


def ridge(w: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Ridge regression labels = w B, with a penalty for each label that is chosen by cross-validation in five folds.

    Args:
        w: `[N, w_dim]`, centred.
        labels: `[N, K]`, centred.

    Returns:
        B `[w_dim, K]`, and the share of each label's variance that is explained in the folds left out `[K]`.
    """
    w, labels = w.double(), labels.double()
    fold = torch.arange(len(w)) % _FOLDS
    penalties = _PENALTIES * w.square().sum() / w.shape[1]
    errors = torch.zeros(len(penalties), labels.shape[1], dtype=torch.float64)
    for k in range(_FOLDS):
        train, test = fold != k, fold == k
        predicted = w[test] @ _path(w[train], labels[train], penalties)  # [penalties, N/5, K]
        errors += (labels[test] - predicted).square().sum(1)
    best = errors.argmin(0)
    coefficients = _path(w, labels, penalties)[best, :, torch.arange(labels.shape[1])].T
    return coefficients, 1 - errors.amin(0) / labels.square().sum(0)


def _path(w: Tensor, labels: Tensor, penalties: Tensor) -> Tensor:
    """Coefficients `[penalties, w_dim, K]`, each with its penalty over all samples."""
    values, vectors = torch.linalg.eigh(w.T @ w)
    projected = vectors.T @ (w.T @ labels)
    return vectors @ (projected / (values + penalties[:, None])[..., None])


def independent_steps(coefficients: Tensor, w: Tensor) -> Tensor:
    """Steps that each move one prediction of w B by 1 and the others by 0: D = M B (BᵀMB)⁻¹.

    M is the square root of the covariance Σ of W. With M = 1 the steps would be the shortest, but lie where W is sparse
    and the regression inaccurate; with M = Σ they would be the most natural, but change more than the label.

    Args:
        coefficients: B `[w_dim, K]`.
        w: `[N, w_dim]`, centred.

    Returns:
        Steps `[K, w_dim]`.
    """
    coefficients = coefficients.double()
    mb = covariance_root(w) @ coefficients
    return (mb @ torch.linalg.inv(coefficients.T @ mb)).T


def covariance_root(w: Tensor) -> Tensor:
    """√Σ `[w_dim, w_dim]` of centred latents `[N, w_dim]`.

    Args:
        w: The latents, less their mean.
    """
    w = w.double()
    values, vectors = torch.linalg.eigh(w.T @ w / len(w))
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T
