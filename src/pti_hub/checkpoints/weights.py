"""One of this package's networks with a file's weights, with checks of every tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from pti_hub.errors import WeightsError
from pti_hub.storage import blueprint, unfilled

_Network = TypeVar("_Network", bound=nn.Module)

_COUNTERS = "num_batches_tracked"


def filled(
    make: Callable[[], _Network], tensors: Mapping[str, Any], names: Mapping[str, str] | None = None
) -> _Network:
    """Make a network with the weights of a file, which are all compared with the network before it takes memory.

    Args:
        make: Makes the network.
        tensors: Tensors by their names in the network; shapes may differ from the network's by axes of length 1.
            Counters of normalisation layers may be missing.
        names: The tensors to load: their names in the network, mapped to the names in the file, which messages use. By
            default all tensors of the network, under the same names.

    Returns:
        The network, frozen, in evaluation mode.

    Raises:
        WeightsError: A tensor is missing, has another shape, or holds values that are not finite.
    """
    state = blueprint(make).state_dict()
    given: dict[str, Tensor] = {}
    for name, theirs in (names or {name: name for name in state}).items():
        tensor, expected = tensors.get(name), state[name]
        if tensor is None and name.endswith(_COUNTERS):
            continue
        if not isinstance(tensor, Tensor):
            raise WeightsError(f"the tensor {theirs} is missing; the file is not whole, or of another network")
        if [n for n in tensor.shape if n > 1] != [n for n in expected.shape if n > 1] or not tensor.numel():
            raise WeightsError(f"the tensor {theirs} has shape {list(tensor.shape)}; expected {list(expected.shape)}")
        given[name] = tensor.reshape(expected.shape).to(expected.dtype)
        if tensor.is_floating_point() != expected.is_floating_point() or not given[name].isfinite().all():
            raise WeightsError(f"the tensor {theirs} holds values that are not finite; fetch the file again")
    network = unfilled(make)
    network.load_state_dict(network.state_dict() | given)
    return network.eval().requires_grad_(False)
