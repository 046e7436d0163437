"""GANSpace: principal components of W as directions (Härkönen et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pti_hub.edits.direction import Direction
from pti_hub.errors import InputError
from pti_hub.generators import Generator

_BATCH = 10_000


@dataclass(frozen=True, eq=False)
class GANSpace:
    """Principal components of a generator's W.

    Attributes:
        components: `[w_dim, w_dim]`, orthonormal rows in order of decreasing variance. In each row the entry of largest
            magnitude is positive, so that signs are the same in every run.
        deviations: `[w_dim]`, standard deviation of W along each component.
        num_samples: Number of w that the components were computed from.
    """

    components: Tensor
    deviations: Tensor
    num_samples: int

    def direction(self, component: int) -> Direction:
        """One component as a direction such as `"pc3"`, with steps of one standard deviation.

        Args:
            component: Index of the component, from 0.

        Returns:
            A direction in W.

        Raises:
            InputError: The index is out of range.
        """
        if component not in range(len(self.deviations)):
            raise InputError(f"component {component!r}; expected 0 to {len(self.deviations) - 1}")
        vector = self.components[component] * self.deviations[component]
        return Direction(f"pc{component}", vector, f"GANSpace, component {component} of {self.num_samples} samples")

    def deviations_of(self, functions: Tensor) -> Tensor:
        """Standard deviations over W of linear functions of w.

        Args:
            functions: `[N, w_dim]`, the coefficients of one function per row.

        Returns:
            `[N]`, on the CPU.
        """
        return (functions.float().cpu() @ self.components.T * self.deviations).norm(dim=1)


@torch.no_grad()
def ganspace(generator: Generator, num_samples: int = 100_000, seed: int = 0) -> GANSpace:
    """Principal component analysis of W.

    Args:
        generator: The generator whose mapping network is sampled.
        num_samples: Number of z drawn.
        seed: Seed of the draw.

    Returns:
        All `w_dim` components, on the CPU.

    Raises:
        InputError: There are fewer samples than dimensions.
    """
    if num_samples < generator.w_dim:
        raise InputError(f"num_samples={num_samples}; expected at least w_dim={generator.w_dim}")
    random = torch.Generator().manual_seed(seed)
    total = torch.zeros(generator.w_dim, dtype=torch.float64)
    products = torch.zeros(generator.w_dim, generator.w_dim, dtype=torch.float64)
    for start in range(0, num_samples, _BATCH):
        z = torch.randn(min(_BATCH, num_samples - start), generator.z_dim, generator=random)
        w = generator.mapping(z.to(generator.w_avg)).cpu().double()  # [B, w_dim]
        total += w.sum(0)
        products += w.T @ w
    mean = total / num_samples
    covariance = (products - num_samples * torch.outer(mean, mean)) / (num_samples - 1)
    variances, vectors = torch.linalg.eigh(covariance)
    components = vectors.T.flip(0)  # rows in order of decreasing variance
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    deviations = variances.flip(0).clamp_min(0).sqrt()
    return GANSpace((components * largest.sign()).float(), deviations.float(), num_samples)
