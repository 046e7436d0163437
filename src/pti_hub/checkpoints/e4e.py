"""Encoders from e4e's and pSp's checkpoints."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pti_hub.checkpoints.weights import filled
from pti_hub.encoders import StyleEncoder
from pti_hub.errors import WeightsError


def encoder_weights(content: Any) -> dict[str, Tensor] | None:
    """Find an encoder's weights in the result of `read_torch_file`; `None` if there are none."""
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or "encoder.input_layer.0.weight" not in state:
        return None
    return {name.removeprefix("encoder."): t for name, t in state.items() if str(name).startswith("encoder.")}


def load_style_encoder(weights: Mapping[str, Tensor], content: Mapping[str, Any]) -> StyleEncoder:
    """Build an encoder from a checkpoint of e4e or pSp.

    Args:
        weights: Result of `encoder_weights`.
        content: Result of `read_torch_file`, which also holds the encoder's options and the mean of W.

    Returns:
        The encoder, in evaluation mode.

    Raises:
        WeightsError: A tensor is missing or has another shape, or the kind of encoder is unknown.
    """
    options = content.get("opts")
    options = options if isinstance(options, Mapping) else getattr(options, "state", {})
    heads = {name.split(".")[1] for name in weights if name.startswith("styles.")}
    layers = len(heads)
    kinds = {"Encoder4Editing": "e4e", "GradualStyleEncoder": "psp"}
    kind: Any = "w" if not heads else kinds.get(options.get("encoder_type", "Encoder4Editing"))
    if kind is None:
        raise WeightsError(f"an encoder of type {options.get('encoder_type')!r}; expected one of {', '.join(kinds)}")
    average = content.get("latent_avg")
    if kind == "w":
        # e4e calls the generator's resolution stylegan_size, pSp calls it output_size.
        size = options.get("stylegan_size", options.get("output_size", 1024))
        layers = 2 * int(size).bit_length() - 4 if isinstance(size, int) else 18
    if not options.get("start_from_latent_avg", True):
        average = None
    elif not isinstance(average, Tensor) or average.shape[-1] != 512 or average.numel() not in (512, layers * 512):
        raise WeightsError(f"latent_avg is missing, or not of [512] or [{layers}, 512] numbers; fetch the file again")
    latents = torch.zeros(layers, 512) if average is None else average.float().reshape(-1, 512).expand(layers, 512)
    return filled(functools.partial(StyleEncoder, layers, kind), {**weights, "latent_avg": latents})
