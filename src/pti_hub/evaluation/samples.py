"""How far tuning moved the distribution of random samples: FID and KID."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pti_hub.errors import InputError, MissingDependencyError, one_line
from pti_hub.generators import tuned_synthesis
from pti_hub.optim import reused_memory
from pti_hub.pipelines import PTIPipeline

_BATCH = 4
# Seeds of the samples of reference and of those compared with them.
_SEEDS = (2000, 3000)


class SampleDistance:
    """Distance of a generator's random samples from other samples of the generator as it was.

    FID (Heusel et al. 2017) and KID (Bińkowski et al. 2018) of torchmetrics. The features of the samples before tuning
    are kept; those of Inception v3 are computed once for both distances.

    Args:
        pipe: The pipeline, with the generator as it was.
        count: Samples on each side, at least 10; FID is biased upwards below some thousands, KID is not.
        features: Pictures `[B, 3, H, W]` of uint8 to features `[B, D]`; Inception v3's last ones by default.

    Raises:
        InputError: Too few samples.
        MissingDependencyError: `torch-fidelity` is not installed, or the weights of Inception v3 can't be downloaded.
    """

    def __init__(self, pipe: PTIPipeline, count: int, features: Callable[[Tensor], Tensor] | None = None) -> None:
        if count < 10:
            raise InputError(f"{count} samples were asked for; distributions need at least 10")
        self._pipe, self._count = pipe, count
        self._features = features or _inception(pipe.device)
        reference, other = (list(self._of({}, seed)) for seed in _SEEDS)
        self._metrics = self._make(reference[0].shape[1])
        for metric in self._metrics.values():
            for part in reference:
                metric.update(part, real=True)
        self._before = {f"{name}_before": value for name, value in self._compare(other).items()}

    def __call__(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Distances of a tuned generator.

        Args:
            weights: θ* by parameter name.

        Returns:
            `fid_after` and `kid_after` of its samples from the original's; `fid_before` and `kid_before`, the same
            between two draws of the original's own, is what they would be had nothing changed.
        """
        after = self._compare(list(self._of(weights, _SEEDS[1])))
        return self._before | {f"{name}_after": value for name, value in after.items()}

    def _make(self, width: int) -> dict[str, Any]:
        try:
            from torchmetrics.image.fid import FrechetInceptionDistance
            from torchmetrics.image.kid import KernelInceptionDistance
        except ImportError as error:
            raise MissingDependencyError(
                "FID needs the package torchmetrics; install it: pip install 'pti-hub[evaluation]'"
            ) from error
        # They are given features in place of pictures.
        same = nn.Identity()
        same.num_features = width  # type: ignore[assignment]
        # Each process has photographs of its own, and samples of its own generators.
        subset = min(1000, self._count // 2)
        return {
            "fid": FrechetInceptionDistance(same, reset_real_features=False, sync_on_compute=False),
            "kid": KernelInceptionDistance(same, subset_size=subset, reset_real_features=False, sync_on_compute=False),
        }

    @torch.no_grad()
    def _of(self, weights: Mapping[str, Tensor], seed: int) -> Iterator[Tensor]:
        generator = self._pipe.generator
        z = torch.randn(self._count, generator.z_dim, generator=torch.Generator().manual_seed(seed))
        with reused_memory():
            for part in z.split(_BATCH):
                picture = tuned_synthesis(generator, weights, generator.mapping(part.to(self._pipe.device)))
                shown = (picture.clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8)
                yield self._features(shown).float().cpu()

    def _compare(self, features: list[Tensor]) -> dict[str, float]:
        found = {}
        for name, metric in self._metrics.items():
            metric.reset()
            for part in features:
                metric.update(part, real=False)
            # KID draws subsets.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                value = metric.compute()
            found[name] = float(value[0] if isinstance(value, tuple) else value)
        return found


def _inception(device: torch.device) -> Callable[[Tensor], Tensor]:
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        return NoTrainInceptionV3(name="inception-v3-compat", features_list=["2048"]).to(device)
    except (ImportError, OSError) as error:
        # urllib's errors are of the system as well.
        raise MissingDependencyError(
            f"FID needs torch-fidelity and the weights it downloads ({one_line(error)}); "
            "install it: pip install torch-fidelity, or measure without fid"
        ) from error
