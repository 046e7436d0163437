"""Networks from `config.json` and a safetensors file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from pti_hub.errors import WeightsError, one_line
from pti_hub.storage.reading import read_tensors

_Network = TypeVar("_Network", bound=nn.Module)

# Limits on what a configuration may ask for: no layer is larger, no list of layers longer.
_MAX_NUMBER, _MAX_LIST = 1 << 16, 256
# What torch's layers and ours fill new weights with, in place.
_FILLING = (init.kaiming_uniform_, init.uniform_, init.normal_)


def load_network(network: type[_Network], config: Mapping[str, Any], weights: Path) -> _Network:
    """A network with the weights of a file; the shapes that the file claims are compared before memory is taken.

    Args:
        network: The network's class.
        config: Arguments of the class.
        weights: A safetensors file.

    Returns:
        The network, in evaluation mode, on the CPU.

    Raises:
        WeightsError: The file is missing or damaged, or the configuration is of another network or of none.
    """
    _check_numbers(config, weights.parent)
    try:
        with safe_open(weights, "pt") as file:
            given = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{weights} is missing or damaged ({one_line(error)})") from error
    with torch.device("meta"), _Unfilled():
        expected = {name: tuple(t.shape) for name, t in network(**config).state_dict().items()}
    if different := sorted(name for name in given.keys() | expected.keys() if given.get(name) != expected.get(name)):
        name = different[0]
        raise WeightsError(
            f"{weights} does not fit its config.json: {name} is {given.get(name)}, expected {expected.get(name)}"
        )
    with _Unfilled():
        loaded = network(**config)
    loaded.load_state_dict(read_tensors(weights))
    return loaded.eval()


class _Unfilled(TorchFunctionMode):
    """Leaves new weights unfilled, since those of a file take their place; on `meta`, filling takes a second."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.randn, torch.rand):
            return torch.empty(*args, **kwargs)
        if func in _FILLING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _check_numbers(value: Any, folder: Path) -> None:
    if isinstance(value, (int, float)) and not -_MAX_NUMBER <= value <= _MAX_NUMBER:
        raise WeightsError(f"{folder / 'config.json'} asks for {value:g} of something; expected at most {_MAX_NUMBER}")
    if isinstance(value, (list, tuple, dict)):
        if len(value) > _MAX_LIST:
            raise WeightsError(f"{folder / 'config.json'} has a list of {len(value)}; expected at most {_MAX_LIST}")
        for part in value.values() if isinstance(value, dict) else value:
            _check_numbers(part, folder)
