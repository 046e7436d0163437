"""StyleGAN2 from checkpoints of rosinality's PyTorch code, which e4e, pSp, StyleCLIP and many others build on."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pti_hub.checkpoints.weights import filled
from pti_hub.errors import WeightsError
from pti_hub.generators import StyleGAN2, w_statistics
from pti_hub.storage import blueprint


def rosinality_weights(content: Any) -> tuple[dict[str, Tensor], Tensor | None] | None:
    """Find the averaged generator's weights in the result of `read_torch_file`.

    Recognises rosinality's own files (`g_ema`, `latent_avg`), files of e4e and pSp (`state_dict` with `decoder.`
    entries), and bare state dicts.

    Returns:
        The weights, and the mean of W or `None` if the file lacks it; `None` if there are no such weights.
    """
    if not isinstance(content, Mapping):
        return None
    weights, latent_avg = content.get("g_ema", content), content.get("latent_avg")
    if isinstance(state := content.get("state_dict"), Mapping):
        weights = {name.removeprefix("decoder."): t for name, t in state.items() if str(name).startswith("decoder.")}
    if not isinstance(weights, Mapping) or "conv1.conv.modulation.weight" not in weights:
        return None
    return dict(weights), latent_avg if isinstance(latent_avg, Tensor) else None


def load_rosinality(weights: Mapping[str, Tensor], latent_avg: Tensor | None = None) -> StyleGAN2:
    """Build a generator from a state dict.

    Args:
        weights: Weights found by `rosinality_weights`.
        latent_avg: Mean of W, `[w_dim]`, or repeated for each layer, `[num_ws, w_dim]`; by default estimated from
            samples.

    Returns:
        The generator, in evaluation mode.

    Raises:
        WeightsError: A tensor is missing or has another shape.
    """
    depth = sum(1 for name in weights if re.fullmatch(r"style\.\d+\.weight", name))
    doublings = sum(1 for name in weights if re.fullmatch(r"to_rgbs\.\d+\.conv\.weight", name))
    try:
        z_dim = weights["style.1.weight"].shape[1]
        w_dim = weights["conv1.conv.modulation.weight"].shape[1]
        channels = [weights["conv1.conv.weight"].shape[1]]
        channels += [weights[f"convs.{2 * i + 1}.conv.weight"].shape[1] for i in range(doublings)]
    except KeyError as error:
        raise WeightsError(f"the tensor {error} is missing; the file is not whole, or of another network") from error
    make = functools.partial(
        StyleGAN2, 4 * 2**doublings, z_dim=z_dim, w_dim=w_dim, channels=channels, mapping_layers=depth
    )
    state = blueprint(make).state_dict()
    names = {name: _rosinality_name(name) for name in state if name not in ("w_std", "w_avg")}
    tensors: dict[str, Tensor | None] = {ours: weights.get(theirs) for ours, theirs in names.items()}
    for ours, theirs in names.items():
        # Older files lack noise maps; these are drawn with a fixed seed.
        if tensors[ours] is None and theirs.startswith("noises."):
            expected = state[ours]
            tensors[ours] = torch.randn(expected.shape, generator=torch.Generator().manual_seed(expected.shape[-1]))
    generator = filled(make, tensors, names)
    w_avg, generator.w_std = w_statistics(generator)
    if latent_avg is None:
        generator.w_avg = w_avg
    elif latent_avg.shape[-1] != w_dim or not latent_avg.isfinite().all():
        raise WeightsError(f"latent_avg has shape {list(latent_avg.shape)}; expected [{w_dim}] of finite numbers")
    else:
        generator.w_avg = latent_avg.reshape(-1, w_dim)[0].float().clone()
    return generator


def _rosinality_name(name: str) -> str:
    if name.startswith("mapping_network."):
        _, _, layer, kind = name.split(".")
        return f"style.{int(layer) + 1}.{kind}"
    _, block, rest = name.split(".", 2)
    i = int(block)
    if rest == "input":
        return "input.input"
    part, kind = rest.split(".", 1)
    if part == "to_image":
        place = "to_rgb1" if i == 0 else f"to_rgbs.{i - 1}"
        return f"{place}.{kind}" if kind == "bias" else f"{place}.conv.{kind}"
    # The first convolution counts in the numbering of noise maps, but not in the numbering of convolutions.
    number = 2 * i if part == "conv1" else 2 * i - 1
    if kind == "noise_const":
        return f"noises.noise_{number}"
    place = "conv1" if number == 0 else f"convs.{number - 1}"
    return f"{place}." + {"bias": "activate.bias", "noise_strength": "noise.weight"}.get(kind, f"conv.{kind}")
