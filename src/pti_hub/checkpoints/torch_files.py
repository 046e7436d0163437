"""PyTorch's files and NVIDIA's pickles, read without running anything that they name.

Tensors, numpy arrays and plain containers come out as they are, objects of the field's classes as inert records. What
is not on the list below is refused, whether it would have done harm or not.
"""

from __future__ import annotations

import functools
import io
import math
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pti_hub.checkpoints.array_unpickler import ARRAY_CLASSES, ArrayStandIn, DTypeStandIn
from pti_hub.checkpoints.inert import (
    Budget,
    InertUnpickler,
    Refused,
    checked_size,
    name_of,
    plain_set,
    printable,
)
from pti_hub.errors import WeightsError

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch.save before version 1.6
_DTYPES = {
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
# Classes whose objects are of use as records: those that NVIDIA's, rosinality's, e4e's and PTI's code pickles.
_RECORDS = re.compile(
    r"(argparse\.Namespace|torch\.nn\.modules\.\w+\.\w+|torch\.nn\.parameter\.\w+|training\.[\w.]+|models\.[\w.]+|"
    r"torch_utils\.ops\.[\w.]+|torch\.optim\.\w+\.\w+|metrics\.[\w.]+)"
)


class _TensorFlow(Exception):
    """The pickle is one of NVIDIA's older ones."""


_LEAVES = (bool, int, float, complex, str, bytes, set, slice, Tensor, torch.dtype)


@dataclass
class Record:
    """An object that was pickled: what it was and what it held, with nothing of its code.

    Attributes:
        name: Its class.
        arguments: What it would have been made with.
        state: Its attributes.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)


class _Maker:
    """Stands in for a class: what is made of it is a record."""

    name = ""
    record: Record

    # Some objects are called into being, others only made and given a state.
    def __new__(cls, *arguments: Any) -> _Maker:
        maker = super().__new__(cls)
        maker.record = Record(cls.name, arguments)
        return maker

    def __init__(self, *_: Any) -> None:
        """What it was called with is in the record."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 2:
            # Attributes of the object's dict, and of its slots.
            state = {**(state[0] or {}), **(state[1] or {})}
        if not isinstance(state, dict):
            raise Refused(f"a {self.name} with a state of type {type(state).__name__}")
        self.record.state.update(state)


class _Dict(dict):  # type: ignore[type-arg]
    """Stands in for dnnlib's EasyDict and for ordered dicts."""

    def __setstate__(self, state: Any) -> None:
        """Such a dict has no state of its own that would matter."""


class _StorageType(NamedTuple):
    dtype: torch.dtype


class _Reader(InertUnpickler):
    stateful = (_Maker, _Dict, ArrayStandIn, DTypeStandIn)
    mappings = (dict, _Dict)

    def __init__(self, file: BinaryIO, storage: Callable[..., Tensor], budget: Budget) -> None:
        super().__init__(file, budget)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return functools.partial(_nested, self.budget)
        if module in ("torch", "torch.cuda") and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        # Not getattr: a module may answer for a name by importing what is behind it.
        if module == "torch" and (dtype := vars(torch).get(name)) in _DTYPES.values():
            return dtype
        if _RECORDS.fullmatch(f"{module}.{name}"):
            return type("_Maker", (_Maker,), {"name": f"{module}.{name}"})
        if module.startswith("dnnlib.tflib"):
            raise _TensorFlow
        raise Refused(printable(f"{module}.{name}"))

    def persistent_load(self, pid: Any) -> Tensor:
        if type(pid) is not tuple or len(pid) not in (5, 6):
            raise Refused("a reference that is no storage's")
        kind, storage_type, key, _, count, *view = pid
        wrong = type(kind) is not str or kind != "storage" or not isinstance(storage_type, _StorageType)
        if wrong or type(key) not in (str, int) or type(count) is not int or (view and view[0] is not None):
            raise Refused("a reference that is no storage's")
        return self._storage(storage_type.dtype, str(key), count)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """A view of a storage, of no more elements than that has."""
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
        raise Refused("a slice of other things than numbers")
    return slice(*bounds)


def _device(*parts: Any) -> str:
    if any(type(part) not in (str, int) for part in parts):
        raise Refused("a device without a name")
    return ":".join(str(part) for part in parts)


def _persistent(meta: Any) -> Record:
    """An object as NVIDIA's `torch_utils.persistence` pickles it: with its source code, which is left unread."""
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        raise Refused("a persistent object without a state")
    if type(meta.get("class_name")) is not str:
        raise Refused("a persistent object without a class")
    return Record(meta["class_name"], (), meta["state"])


def _scalar(dtype: Any, data: Any) -> Any:
    if type(dtype) is not DTypeStandIn or type(data) is not bytes or len(data) != dtype.value.itemsize:
        raise Refused("a scalar that is no number")
    return np.frombuffer(data, dtype.value)[0].item()


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if type(text) is not str or type(encoding) is not str or encoding != "latin1":
        raise Refused("a text in another encoding than latin1")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Any] = {
    **ARRAY_CLASSES,
    ("collections", "OrderedDict"): _Dict,
    ("dnnlib.util", "EasyDict"): _Dict,
    ("dnnlib", "EasyDict"): _Dict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch.storage", "UntypedStorage"): _StorageType(torch.uint8),
    ("torch", "UntypedStorage"): _StorageType(torch.uint8),
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


def _nested(budget: Budget, data: Any) -> Any:
    if type(data) is not bytes:
        raise Refused("a storage that is no bytes")
    return _legacy(io.BytesIO(data), budget)


def _zipped(path: Path, budget: Budget) -> Any:
    """A file of torch.save since version 1.6: a zip of one pickle and a file a storage."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename.split("/", 1)[-1]: entry for entry in archive.infolist()}
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise Refused("compressed entries, as torch.save makes none")
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise Refused("entries that lie over each other")
        if "byteorder" in entries and archive.read(entries["byteorder"]) != b"little":
            raise Refused("big-endian numbers")
        storages: dict[str, Tensor] = {}

        def storage(dtype: torch.dtype, key: str, count: int) -> Tensor:
            if key not in storages:
                data = archive.read(entries[f"data/{key}"])
                storages[key] = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
            return storages[key]

        return _Reader(io.BytesIO(archive.read(entries["data.pkl"])), storage, budget).load()


def _legacy(file: BinaryIO, budget: Budget) -> Any:
    """A file of torch.save before version 1.6: pickles one after the other, then the storages."""
    storages: dict[str, Tensor] = {}
    filled: set[str] = set()

    def storage(dtype: torch.dtype, key: str, count: int) -> Tensor:
        if key not in storages:
            if count < 0:
                raise ValueError(f"a storage of {count} elements")
            budget.charge(count * dtype.itemsize)
            storages[key] = torch.empty(count, dtype=dtype)
        return storages[key]

    header = [_Reader(file, _no_storage, budget).load() for _ in range(2)]
    if [type(number) for number in header] != [int, int] or header != [_MAGIC, _PROTOCOL]:
        raise ValueError("not a file of torch.save")
    _Reader(file, _no_storage, budget).load()  # about the machine it was written on
    content = _Reader(file, storage, budget).load()
    keys = _Reader(file, _no_storage, budget).load()
    if type(keys) is not list or any(type(key) not in (str, int) for key in keys):
        raise ValueError("no list of storages")
    for key in map(str, keys):
        flat = storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        data = file.read(flat.nbytes)
        if count != len(flat) or len(data) != flat.nbytes:
            raise EOFError(f"{len(data)} bytes of a storage of {flat.nbytes}")
        if data:
            flat.copy_(torch.frombuffer(bytearray(data), dtype=flat.dtype))
        filled.add(key)
    # Memory that is not filled holds what this process had there before.
    if filled != storages.keys():
        raise EOFError("a storage without content")
    return content


def _no_storage(*_: Any) -> Tensor:
    raise ValueError("a storage out of place")


def _plain(file: BinaryIO, budget: Budget) -> Any:
    """A pickle: NVIDIA's, whose tensors hold legacy files, or an old torch.save's, which begins with a number."""
    content = _Reader(file, _no_storage, budget).load()
    if type(content) is not int or content != _MAGIC:
        return content
    file.seek(0)
    return _legacy(file, budget)


def read_torch_file(path: str | Path) -> Any:
    """Read a `.pt`, `.pth` or `.pkl` as the StyleGAN world writes them. No code in the file is run.

    Args:
        path: A file of `torch.save`, of any version, or a pickle of NVIDIA's StyleGAN2-ADA or StyleGAN3.

    Returns:
        What was saved: containers, numbers, texts, tensors on the CPU, numpy arrays, and a `Record` for each object.

    Raises:
        WeightsError: The file is missing or damaged, or names something that is not on the list.
    """
    path = Path(path)
    try:
        budget = Budget(path.stat().st_size)
        if zipfile.is_zipfile(path):
            content = _zipped(path, budget)
        else:
            with path.open("rb") as file:
                content = _plain(file, budget)
        return _resolved(content, {})
    except Refused as error:
        raise WeightsError(
            f"{path} is refused, it holds {error}; only tensors and what StyleGAN's code pickles are admitted"
        ) from None
    except _TensorFlow:
        raise WeightsError(
            f"{path} holds a TensorFlow network; turn it into a PyTorch one with NVIDIA's stylegan3 code: "
            "python legacy.py --source=IN.pkl --dest=OUT.pkl"
        ) from None
    except OSError as error:
        raise WeightsError(f"{path} can't be read: {error.strerror or error}") from error
    # Opcodes read from damaged bytes can raise nearly anything.
    except Exception as error:
        reason = printable(" ".join(str(error).split()))
        raise WeightsError(
            f"{path} is damaged, or no file of torch.save or pickle ({type(error).__name__}: {reason}); fetch it again"
        ) from error


def _resolved(value: Any, done: dict[int, Any]) -> Any:
    """Arrays and records in place of their stand-ins; `done` keeps shared parts shared, the work linear."""
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, (Record, _Maker)):
        record = value if isinstance(value, Record) else value.record
        done[id(value)] = record
        record.arguments = tuple(_resolved(argument, done) for argument in record.arguments)
        record.state = {key: _resolved(item, done) for key, item in record.state.items()}
    elif isinstance(value, dict):
        content: dict[Any, Any] = {}
        done[id(value)] = content
        content.update({key: _resolved(item, done) for key, item in value.items()})
    elif type(value) is list:
        items: list[Any] = []
        done[id(value)] = items
        items.extend(_resolved(item, done) for item in value)
    elif type(value) is tuple:
        done[id(value)] = tuple(_resolved(item, done) for item in value)
    elif isinstance(value, ArrayStandIn) and value.value is not None:
        done[id(value)] = value.value
    elif value is None or isinstance(value, _LEAVES):
        return value
    else:
        raise Refused(f"a bare {name_of(value)}")
    return done[id(value)]
