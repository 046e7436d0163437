"""Stand-ins for the classes and functions that PyTorch's files and pickles of StyleGAN code name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pti_hub.checkpoints.unpickling.arrays import ARRAY_CLASSES, DTypeStandIn
from pti_hub.checkpoints.unpickling.restricted import (
    SCALARS,
    Refused,
    StandIn,
    checked_size,
    name_of,
    plain_set,
)

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# Classes whose objects become records: NVIDIA's, rosinality's, e4e's and PTI's code pickles such objects.
RECORDS = re.compile(
    r"(argparse\.Namespace|torch\.nn\.modules\.\w+\.\w+|torch\.nn\.parameter\.\w+|training\.[\w.]+|models\.[\w.]+|"
    r"torch_utils\.ops\.[\w.]+|torch\.optim\.\w+\.\w+|metrics\.[\w.]+)"
)


@dataclass
class Record:
    """The data of a pickled object, without the code of the object's class.

    Attributes:
        name: Full name of the class, including the module.
        arguments: Arguments of the class's constructor.
        state: Attributes of the object.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)


class Maker(StandIn):
    """Stands in for an object whose class is not imported; a record takes the object's place."""

    name = ""
    record: Record

    # Some pickles call the class with arguments; others create the object without any and then set a state.
    def __new__(cls, *arguments: Any) -> Maker:
        maker = super().__new__(cls)
        maker.record = Record(cls.name, arguments)
        return maker

    def __init__(self, *_: Any) -> None:
        """Do nothing: `__new__` has put the arguments into the record."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 2:
            # Attributes from `__dict__` and from `__slots__`.
            state = {**(state[0] or {}), **(state[1] or {})}
        if not isinstance(state, dict):
            raise Refused(f"a {self.name} with a state of type {type(state).__name__}")
        self.record.state.update(state)

    def content(self) -> Record:
        """The record."""
        return self.record

    def resolve_parts(self, resolve_part: Callable[[Any], Any]) -> None:
        """See `StandIn.resolve_parts`."""
        record = self.record
        record.arguments = tuple(resolve_part(argument) for argument in record.arguments)
        record.state = {key: resolve_part(item) for key, item in record.state.items()}


def maker_of(name: str) -> type[Maker]:
    """A stand-in for the class of that name."""
    return type("Maker", (Maker,), {"name": name})


class Dict(dict):  # type: ignore[type-arg]
    """Stands in for dnnlib's `EasyDict` and for `OrderedDict`."""

    def __init__(self, items: Any = ()) -> None:
        # Only a list of pairs, as old pickles give it: other keys than scalars would be hashed.
        if type(items) not in (list, tuple) or any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in items):
            raise Refused(f"a dict made of a {name_of(items)}")
        for key, value in items:
            if type(key) not in SCALARS:
                raise Refused(f"a dict with a key of type {name_of(key)}")
            self[key] = value

    def __setstate__(self, state: Any) -> None:
        """Do nothing: the state of such a dict holds nothing of interest."""


class StorageType(NamedTuple):
    """Stands in for one of PyTorch's storage classes."""

    dtype: torch.dtype


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """Build a tensor as a view of a storage, with at most as many elements as the storage has."""
    if not isinstance(storage, Tensor) or storage.ndim != 1:
        raise Refused("a tensor without a storage")
    (offset,) = checked_size((offset,))
    size, stride = checked_size(size), checked_size(stride)
    if len(size) != len(stride):
        raise ValueError(f"a tensor of {len(size)} sizes and {len(stride)} strides")
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count > len(storage) or (count and last >= len(storage)):
        raise ValueError(f"a tensor of size {list(size)} in a storage of {len(storage)} elements")
    return torch.as_strided(storage, size, stride, offset)


def _rebuild_tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Tensor:
    if not isinstance(storage, Tensor) or not isinstance(dtype, torch.dtype):
        raise Refused("a tensor without a storage")
    return _rebuild_tensor(storage.view(dtype), offset, size, stride)


def _parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise Refused("a parameter that is no tensor")
    return data


def _size(elements: Any = ()) -> tuple[int, ...]:
    return checked_size(tuple(elements) if type(elements) is list else elements)


def _slice(*bounds: Any) -> slice:
    if len(bounds) > 3 or any(type(bound) not in (int, type(None)) for bound in bounds):
        raise Refused("a slice of something other than numbers")
    return slice(*bounds)


def _device(*parts: Any) -> str:
    if any(type(part) not in (str, int) for part in parts):
        raise Refused("a device without a name")
    return ":".join(str(part) for part in parts)


def _persistent(meta: Any) -> Maker:
    """Stands in for an object that `torch_utils.persistence` pickled with source code, which is never read."""
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        raise Refused("a persistent object without a state")
    if type(meta.get("class_name")) is not str:
        raise Refused("a persistent object without a class")
    maker = maker_of(meta["class_name"])()
    maker.record.state = meta["state"]
    return maker


def _scalar(dtype: Any, data: Any) -> Any:
    if type(dtype) is not DTypeStandIn or type(data) is not bytes or len(data) != dtype.value.itemsize:
        raise Refused("a scalar that is no number")
    return np.frombuffer(data, dtype.value)[0].item()


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if type(text) is not str or type(encoding) is not str or encoding != "latin1":
        raise Refused("a text in another encoding than latin1")
    return text.encode("latin1")


TORCH_CLASSES: dict[tuple[str, str], Any] = {
    **ARRAY_CLASSES,
    ("collections", "OrderedDict"): Dict,
    ("dnnlib.util", "EasyDict"): Dict,
    ("dnnlib", "EasyDict"): Dict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch.storage", "UntypedStorage"): StorageType(torch.uint8),
    ("torch", "UntypedStorage"): StorageType(torch.uint8),
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("_codecs", "encode"): _encoded,
    ("builtins", "set"): plain_set,
    ("__builtin__", "set"): plain_set,
    ("builtins", "slice"): _slice,
}
