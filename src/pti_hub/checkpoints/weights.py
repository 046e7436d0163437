"""Weights from a file into a network of ours, checked one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from pti_hub.errors import WeightsError

_COUNTERS = "num_batches_tracked"


def fill(network: nn.Module, tensors: Mapping[str, Any], names: Mapping[str, str] | None = None) -> None:
    """Give a network its weights, freeze it, and put it into evaluation mode.

    Args:
        network: The network.
        tensors: Tensors by the network's own names; their shapes may differ from the network's by axes of length 1.
            Counters of normalisation layers may be missing.
        names: Which tensors to fill, with the names they have in the file, for messages; by default all of the
            network's, called there as here.

    Raises:
        WeightsError: A tensor is missing, of another shape, or not of finite numbers.
    """
    state = network.state_dict()
    for name, theirs in (names or {name: name for name in state}).items():
        tensor, expected = tensors.get(name), state[name]
        if tensor is None and name.endswith(_COUNTERS):
            continue
        if not isinstance(tensor, Tensor):
            raise WeightsError(f"the tensor {theirs} is missing; the file is not whole, or of another network")
        if [n for n in tensor.shape if n > 1] != [n for n in expected.shape if n > 1] or not tensor.numel():
            raise WeightsError(f"the tensor {theirs} has shape {list(tensor.shape)}; expected {list(expected.shape)}")
        state[name] = tensor.reshape(expected.shape).to(expected.dtype)
        if tensor.is_floating_point() != expected.is_floating_point() or not state[name].isfinite().all():
            raise WeightsError(f"the tensor {theirs} holds values that are not finite; fetch the file again")
    network.load_state_dict(state)
    network.eval().requires_grad_(False)
