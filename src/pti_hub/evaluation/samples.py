"""FID and KID: how far tuning moves the distribution of a generator's random samples."""

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
# Seeds of the reference samples, and of the samples that are compared with them.
_SEEDS = (2000, 3000)


class SampleDistance:
    """Distance between a tuned generator's random samples and random samples of the generator before tuning.

    Computes FID (Heusel et al. 2017) and KID (Bińkowski et al. 2018) with torchmetrics. The features of the samples
    before tuning are computed only once, and the features of each picture serve both distances.

    Args:
        pipe: The pipeline, with the generator before tuning.
        count: Number of samples on each side, at least 10; below some thousands FID is biased upwards, KID is not.
        features: Maps uint8 pictures `[B, 3, H, W]` to features `[B, D]`; by default Inception v3's last features.

    Raises:
        InputError: `count` is below 10.
        MissingDependencyError: `torch-fidelity` is not installed, or the weights of Inception v3 can't be downloaded.
    """

    def __init__(self, pipe: PTIPipeline, count: int, features: Callable[[Tensor], Tensor] | None = None) -> None:
        if count < 10:
            raise InputError(f"{count} samples were asked for; distributions need at least 10")
        self._pipe, self._count = pipe, count
        self._features = features or _inception(pipe.device)
        reference, other = (list(self._features_of({}, seed)) for seed in _SEEDS)
        self._metrics = self._new_metrics(reference[0].shape[1])
        for metric in self._metrics.values():
            for part in reference:
                metric.update(part, real=True)
        self._before = {f"{name}_before": value for name, value in self._compare(other).items()}

    def __call__(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Distances of a tuned generator.

        Args:
            weights: θ* by parameter name.

        Returns:
            `fid_after` and `kid_after`, the distances between samples after and before tuning; `fid_before` and
            `kid_before`, the distances between two sets of samples before tuning, which `fid_after` and `kid_after`
            would equal if tuning had changed nothing.
        """
        after = self._compare(list(self._features_of(weights, _SEEDS[1])))
        return self._before | {f"{name}_after": value for name, value in after.items()}

    def _new_metrics(self, width: int) -> dict[str, Any]:
        try:
            from torchmetrics.image.fid import FrechetInceptionDistance
            from torchmetrics.image.kid import KernelInceptionDistance
        except ImportError as error:
            raise MissingDependencyError(
                "FID needs the package torchmetrics; install it: pip install 'pti-hub[evaluation]'"
            ) from error
        # The metrics receive features instead of pictures.
        identity = nn.Identity()
        identity.num_features = width  # type: ignore[assignment]
        # Nothing is synchronised: each process has its own photographs, and so its own tuned generators.
        subset = min(1000, self._count // 2)
        return {
            "fid": FrechetInceptionDistance(identity, reset_real_features=False, sync_on_compute=False),
            "kid": KernelInceptionDistance(
                identity, subset_size=subset, reset_real_features=False, sync_on_compute=False
            ),
        }

    @torch.no_grad()
    def _features_of(self, weights: Mapping[str, Tensor], seed: int) -> Iterator[Tensor]:
        generator = self._pipe.generator
        z = torch.randn(self._count, generator.z_dim, generator=torch.Generator().manual_seed(seed))
        with reused_memory():
            for part in z.split(_BATCH):
                picture = tuned_synthesis(generator, weights, generator.mapping(part.to(self._pipe.device)))
                pixels = (picture.clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8)
                yield self._features(pixels).float().cpu()

    def _compare(self, features: list[Tensor]) -> dict[str, float]:
        distances = {}
        for name, metric in self._metrics.items():
            metric.reset()
            for part in features:
                metric.update(part, real=False)
            # KID draws random subsets.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                value = metric.compute()
            distances[name] = float(value[0] if isinstance(value, tuple) else value)
        return distances


def _inception(device: torch.device) -> Callable[[Tensor], Tensor]:
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        return NoTrainInceptionV3(name="inception-v3-compat", features_list=["2048"]).to(device)
    except (ImportError, OSError) as error:
        # urllib's errors are OSErrors, too.
        raise MissingDependencyError(
            f"FID needs torch-fidelity and the weights it downloads ({one_line(error)}); "
            "install it: pip install torch-fidelity, or measure without fid"
        ) from error
