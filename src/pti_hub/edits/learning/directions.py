"""Directions from labels of a generator's pictures, or from examples with and without a property."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pti_hub.edits.direction import Direction
from pti_hub.edits.learning.regression import independent_steps, ridge
from pti_hub.errors import InputError

FEWEST_EXAMPLES = 3
"""Fewest examples of either kind that a direction is learned from."""

_FEWEST_SAMPLES = 100
# Share of a label's variance, in samples left out of the fit, below which latents say nothing about the label.
_LEAST_EXPLAINED = 0.02
# Correlation above which two labels are one.
_SAME = 0.999
_OUTLIERS = (0.01, 0.99)


def learn_direction(
    name: str,
    latents: Tensor,
    labels: Tensor | Sequence[float],
    held: Mapping[str, Tensor | Sequence[float]] | None = None,
    provenance: str = "",
) -> Direction:
    """A direction that moves a label, and leaves other labels as they are (conditional manipulation: Shen et al. 2020).

    The labels are regressed on the latents; see `ridge` and `independent_steps`.

    Args:
        name: Name of the direction.
        latents: w `[N, w_dim]`, such as `Samples.latents`.
        labels: One number per latent `[N]`, such as `Samples.measure` gives; rows with NaN are left out.
        held: Other labels by name, each `[N]`, that the direction is to leave alone.
        provenance: Where the labels come from, in words.

    Returns:
        A direction in W. One step raises the label by one standard deviation of the samples, if the label is as linear
        as the regression has it. `metrics` has the number of samples, the share of variance that the regression
        explains in samples left out, and the label's standard deviation.

    Raises:
        InputError: Shapes differ, there are fewer than 100 samples with labels, or a label does not vary, or can't be
            told from the latents.
    """
    if name in (held or {}):
        raise InputError(f"{name!r} is to change and to be held; hold other labels")
    latents = _plain(latents)
    given = {other: _plain(values) for other, values in {name: labels, **(held or {})}.items()}
    for other, values in given.items():
        if latents.ndim != 2 or values.shape != latents.shape[:1]:
            raise InputError(
                f"latents {list(latents.shape)} and {other!r} {list(values.shape)}; expected [N, w_dim] and [N]"
            )
    matrix = torch.stack(list(given.values()), 1)  # [N, K]
    known = matrix.isfinite().all(1) & latents.isfinite().all(1)
    if known.sum() < _FEWEST_SAMPLES:
        raise InputError(f"{int(known.sum())} of {len(known)} samples have labels; {_FEWEST_SAMPLES} are needed")
    matrix, w = matrix[known], latents[known]
    low, high = matrix.quantile(torch.tensor(_OUTLIERS, dtype=torch.float64), 0)
    matrix = matrix.clamp(low, high)
    deviation = matrix.std(0, correction=0)
    for other, std in zip(given, deviation.tolist(), strict=True):
        if not std > 1e-9:
            raise InputError(
                f"{other!r} is the same in 98 % or more of {len(w)} samples; a direction needs a label that varies"
            )
    w, matrix = w - w.mean(0), (matrix - matrix.mean(0)) / deviation
    alike = (matrix.T @ matrix / len(w) - torch.eye(len(given))).abs()
    if alike.max() > _SAME:
        first, second = (list(given)[i] for i in divmod(int(alike.argmax()), len(given)))
        raise InputError(f"{first!r} and {second!r} say the same of these samples; hold other labels")
    coefficients, explained = ridge(w, matrix)
    if not explained[0] > _LEAST_EXPLAINED:
        raise InputError(
            f"latents explain {max(0.0, float(explained[0])):.0%} of {name!r}, which is as good as nothing; check the "
            "labels, or take more samples"
        )
    metrics = {
        "samples": len(w),
        "explained": round(float(explained[0]), 3),
        "label_std": float(deviation[0]),
    }
    words = f"ridge regression on {len(w)} labelled samples" + (f", {provenance}" if provenance else "")
    if held:
        words += f"; held: {', '.join(held)}"
    return Direction(name, independent_steps(coefficients, w)[0].float(), words, metrics)


def direction_between(name: str, without: Tensor, with_: Tensor, provenance: str = "") -> Direction:
    """The mean difference between latents of pictures with and without a property.

    Fewest examples are needed where both kinds show the same people: what people differ in cancels out.

    Args:
        name: Name of the direction.
        without: `[n, w_dim]` or `[n, num_ws, w_dim]`.
        with_: `[m, w_dim]` or `[m, num_ws, w_dim]`.
        provenance: Where the examples come from, in words.

    Returns:
        A direction in the latents' own space, whose one step is the difference. `metrics` has the numbers of examples.

    Raises:
        InputError: There are fewer than 3 of either kind, shapes differ, or both are the same.
    """
    if min(len(without), len(with_)) < FEWEST_EXAMPLES:
        raise InputError(
            f"{len(with_)} examples with {name!r} and {len(without)} without; give at least {FEWEST_EXAMPLES} of "
            "each, better 20"
        )
    if without.shape[1:] != with_.shape[1:] or without.ndim not in (2, 3):
        raise InputError(f"examples {list(with_.shape)} and {list(without.shape)}; expected latents of one generator")
    difference = _plain(with_).mean(0) - _plain(without).mean(0)
    if not difference.any():
        raise InputError(f"the examples with and without {name!r} are the same")
    metrics = {"with": len(with_), "without": len(without)}
    words = f"mean difference of {len(with_)} examples with and {len(without)} without"
    return Direction(name, difference.float(), words + (f", {provenance}" if provenance else ""), metrics)


def _plain(values: Tensor | Sequence[float]) -> Tensor:
    """Values in float64 on the CPU, without a graph."""
    return torch.as_tensor(values).detach().cpu().double()
