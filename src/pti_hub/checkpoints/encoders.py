"""Encoders and identity networks from the files of e4e, pSp and InsightFace's PyTorch port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pti_hub.encoders import ArcFace, StyleEncoder
from pti_hub.errors import WeightsError

_COUNTERS = "num_batches_tracked"


def encoder_weights(content: Any) -> dict[str, Tensor] | None:
    """The encoder's weights in what `read_torch_file` gave, where there are any."""
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or "encoder.input_layer.0.weight" not in state:
        return None
    return {name.removeprefix("encoder."): t for name, t in state.items() if str(name).startswith("encoder.")}


def load_style_encoder(weights: Mapping[str, Tensor], content: Mapping[str, Any]) -> StyleEncoder:
    """Build an encoder of e4e or pSp.

    Args:
        weights: As `encoder_weights` finds them.
        content: The file they are in, for its options and the mean of W.

    Returns:
        The encoder, in evaluation mode.

    Raises:
        WeightsError: A tensor is missing or of another shape, or the kind of encoder is unknown.
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
        # e4e's name for it, and pSp's.
        size = options.get("stylegan_size", options.get("output_size", 1024))
        layers = 2 * int(size).bit_length() - 4 if isinstance(size, int) else 18
    if not options.get("start_from_latent_avg", True):
        average = None
    elif not isinstance(average, Tensor) or average.shape[-1] != 512 or average.numel() not in (512, layers * 512):
        raise WeightsError(f"latent_avg is missing, or not of [512] or [{layers}, 512] numbers; fetch the file again")
    encoder = StyleEncoder(layers, kind)
    latents = torch.zeros(layers, 512) if average is None else average.float().reshape(-1, 512).expand(layers, 512)
    fill_module(encoder, {**weights, "latent_avg": latents})
    return encoder


def load_arcface(weights: Mapping[str, Tensor]) -> ArcFace:
    """Build ArcFace's IR-SE50 of a state dict, as `model_ir_se50.pth` is one.

    Raises:
        WeightsError: A tensor is missing or of another shape.
    """
    network = ArcFace()
    # Some files leave out what the last normalisation has learned nothing of.
    neutral = {"output_layer.4.weight": torch.ones(512), "output_layer.4.bias": torch.zeros(512)}
    fill_module(network, {**neutral, **weights})
    return network


def fill_module(module: nn.Module, weights: Mapping[str, Any]) -> None:
    """Give a network its weights, whose names are the file's, and put it into evaluation mode.

    Raises:
        WeightsError: A tensor is missing, of another shape, or not of finite numbers.
    """
    state = module.state_dict()
    for name, wanted in state.items():
        tensor = weights.get(name)
        if tensor is None and name.endswith(_COUNTERS):
            continue
        if not isinstance(tensor, Tensor):
            raise WeightsError(f"the tensor {name} is missing; the file is not whole, or of another network")
        if tensor.shape != wanted.shape:
            raise WeightsError(f"the tensor {name} has shape {list(tensor.shape)}; expected {list(wanted.shape)}")
        if not tensor.isfinite().all():
            raise WeightsError(f"the tensor {name} holds values that are not finite; fetch the file again")
        state[name] = tensor
    module.load_state_dict(state)
    module.eval().requires_grad_(False)
