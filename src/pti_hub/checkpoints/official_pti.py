"""Tuned generators and pivots as the official PTI code saves them, `model_*.pt` and `0.pt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pti_hub.checkpoints.nvidia import generator_of, load_nvidia
from pti_hub.checkpoints.unpickling import read_torch_file
from pti_hub.errors import InputError, WeightsError
from pti_hub.generators import Generator, latent_statistics
from pti_hub.personalization import Base, Personalization


def load_tuned(
    content: Any,
    pivots: Mapping[str, str | Path],
    generator: Generator,
    base: Base,
    origins: Sequence[Mapping[str, str]],
) -> Personalization:
    """Convert a tuned generator and pivots to a personalisation of the generator's base.

    Args:
        content: Result of `read_torch_file` for the tuned generator's file.
        pivots: Pivot files by identity.
        generator: The base: the generator before tuning.
        base: Identifies the base in the personalisation.
        origins: Origins and licences of the base's weights.

    Returns:
        The personalisation: weight deltas and pivots.

    Raises:
        WeightsError: The file holds no generator, or a pivot file holds no pivot.
        InputError: The names or shapes of the tuned generator's weights differ from the base's.
    """
    if (record := generator_of(content)) is None:
        raise WeightsError("the file holds no generator; expected a tuned generator that the official PTI code saved")
    tuned, original = _synthesis(load_nvidia(record)), _synthesis(generator)
    if {name: p.shape for name, p in tuned.items()} != {name: p.shape for name, p in original.items()}:
        raise InputError(
            f"the tuned generator has other weights than the base {base.name!r}; give the one it came from"
        )
    deltas = {name: p.detach() - original[name].detach().cpu().float() for name, p in tuned.items()}
    latents = {identity: _load_pivot(path, generator.w_dim) for identity, path in pivots.items()}
    statistics = latent_statistics(generator, [w[None].to(generator.w_avg.device) for w in latents.values()])
    metrics = dict(zip(latents, statistics, strict=True))
    personalization = Personalization(deltas, latents, base, metrics, {"origin": "official PTI"}, origins)
    personalization.check(generator, base)
    return personalization


def _synthesis(generator: Generator) -> dict[str, Tensor]:
    """The weights that tuning changes, by name."""
    return {name: p for name, p in generator.named_parameters() if not name.startswith("mapping_network.")}


def _load_pivot(path: str | Path, w_dim: int) -> Tensor:
    """Read w_p as `[w_dim]`, or as `[num_ws, w_dim]` if layers differ."""
    pivot = read_torch_file(path)
    if not isinstance(pivot, Tensor):
        raise WeightsError(f"{path} holds no tensor; expected a pivot [1, num_ws, w_dim]")
    if pivot.shape[-1:] != (w_dim,) or not pivot.numel():
        raise WeightsError(f"{path} holds a tensor {list(pivot.shape)}; expected a pivot [1, num_ws, {w_dim}]")
    pivot = pivot.detach().float().reshape(-1, w_dim)
    # The official code repeats a pivot in W once per layer.
    return pivot[0].clone() if (pivot == pivot[0]).all() else pivot
