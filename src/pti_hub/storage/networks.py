"""Networks from `config.json` and a safetensors file."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn import init
from torch.overrides import TorchFunctionMode
from typing_extensions import Self, Unpack

from pti_hub.errors import WeightsError, one_line
from pti_hub.storage.hub import DownloadOptions, fetch_folder
from pti_hub.storage.reading import as_weights_error, read_json, read_tensors

_Network = TypeVar("_Network", bound=nn.Module)

_CONFIG_NAME, _WEIGHTS_NAME = "config.json", "model.safetensors"

# Limits on what a configuration may ask for: no layer is larger, no list of layers longer.
_MAX_NUMBER, _MAX_LIST = 1 << 16, 256
# What torch's layers and ours fill new weights with, in place.
_FILLING = (init.kaiming_uniform_, init.uniform_, init.normal_)


class Network(nn.Module, PyTorchModelHubMixin, library_name="pti-hub"):
    """Base class of the networks that are saved and loaded by themselves."""

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, **download: Unpack[DownloadOptions]
    ) -> Self:
        """Read a folder or a Hub repository.

        Args:
            pretrained_model_name_or_path: Folder or repository id.
            **download: See `pti_hub.storage.DownloadOptions`.

        Returns:
            The network, in evaluation mode, on the CPU.

        Raises:
            WeightsError: It can't be had, is damaged, or is of another network.
        """
        folder = fetch_folder(pretrained_model_name_or_path, allow_patterns=[_CONFIG_NAME, _WEIGHTS_NAME], **download)
        with as_weights_error(folder, "save or fetch it again"):
            return load_network(cls, folder)


def load_network(network: type[_Network], folder: Path, weights: Path | None = None) -> _Network:
    """The network of a folder; the shapes that its weights claim are compared before memory is taken.

    What is wrong with the arguments in `config.json` is raised as it is met, see `as_weights_error`.

    Args:
        network: The network's class.
        folder: A folder with `config.json`, where the class takes arguments.
        weights: A safetensors file; by default the folder's `model.safetensors`.

    Returns:
        The network, in evaluation mode, on the CPU.

    Raises:
        WeightsError: A file is missing or damaged, or the files are of another network or of two.
    """
    weights = weights or folder / _WEIGHTS_NAME
    takes_arguments = len(inspect.signature(network.__init__).parameters) > 1
    config = read_json(folder / _CONFIG_NAME) if takes_arguments else {}
    _check_numbers(config, folder)
    try:
        with safe_open(weights, "pt") as file:
            given = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{weights} is missing or damaged ({one_line(error)})") from error
    make = functools.partial(network, **config)
    expected = {name: tuple(t.shape) for name, t in blueprint(make).state_dict().items()}
    if different := sorted(name for name in given.keys() | expected.keys() if given.get(name) != expected.get(name)):
        name = different[0]
        raise WeightsError(
            f"{weights} does not fit its config.json: {name} is {given.get(name)}, expected {expected.get(name)}"
        )
    loaded = unfilled(make)
    loaded.load_state_dict(read_tensors(weights))
    return loaded.eval()


def blueprint(make: Callable[[], _Network]) -> _Network:
    """The network that a function makes, with the names and shapes of its weights, but without memory for them."""
    with torch.device("meta"), _Unfilled():
        return make()


def unfilled(make: Callable[[], _Network]) -> _Network:
    """The network that a function makes, without the random weights that those of a file take the place of."""
    with _Unfilled():
        return make()


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
