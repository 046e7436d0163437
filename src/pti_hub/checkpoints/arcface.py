"""ArcFace's identity network from the file of InsightFace's PyTorch port, `model_ir_se50.pth`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pti_hub.checkpoints.weights import filled
from pti_hub.encoders import ArcFace


def arcface_weights(content: Any) -> Mapping[str, Tensor] | None:
    """Find ArcFace's weights in the result of `read_torch_file`; `None` if there are none."""
    if isinstance(content, Mapping) and {"input_layer.0.weight", "output_layer.3.weight"} <= content.keys():
        return content
    return None


def load_arcface(weights: Mapping[str, Tensor]) -> ArcFace:
    """Build ArcFace's IR-SE50 from a state dict.

    Args:
        weights: Result of `arcface_weights`.

    Returns:
        The network, in evaluation mode.

    Raises:
        WeightsError: A tensor is missing or has another shape.
    """
    # Some files lack the last normalisation layer's weights, which were never trained.
    neutral = {"output_layer.4.weight": torch.ones(512), "output_layer.4.bias": torch.zeros(512)}
    return filled(ArcFace, {**neutral, **weights})
