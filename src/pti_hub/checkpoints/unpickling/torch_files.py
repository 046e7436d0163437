"""Reading PyTorch's files and NVIDIA's pickles without running any code that they name.

Tensors, numpy arrays and plain containers are returned as they are; objects of PyTorch's and StyleGAN's classes become
records without behaviour. Every other name is refused, whether harmful or not.
"""

from __future__ import annotations

import functools
import io
import mmap
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from pti_hub.checkpoints.unpickling.arrays import ArrayStandIn, DTypeStandIn
from pti_hub.checkpoints.unpickling.restricted import Budget, Refused, RestrictedUnpickler, named, resolve
from pti_hub.checkpoints.unpickling.torch_classes import (
    DTYPES,
    RECORDS,
    TORCH_CLASSES,
    Dict,
    Maker,
    StorageType,
    maker_of,
)
from pti_hub.errors import WeightsError

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # in files of torch.save before version 1.6
_LEAVES = (bool, int, float, complex, str, bytes, set, slice, Tensor, torch.dtype)


class _TensorFlowPickle(Exception):
    """The pickle holds a TensorFlow network, as NVIDIA's older code wrote it."""


class _Reader(RestrictedUnpickler):
    stateful = (Maker, Dict, ArrayStandIn, DTypeStandIn)
    mappings = (dict, Dict)
    admitted = TORCH_CLASSES

    def __init__(self, file: BinaryIO, storage: Callable[..., Tensor], budget: Budget) -> None:
        super().__init__(file, budget)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return functools.partial(_nested, self.budget)
        if module in ("torch", "torch.cuda") and name in DTYPES:
            return StorageType(DTYPES[name])
        # Not getattr, because a module may answer it by importing a sub-module.
        if module == "torch" and (dtype := vars(torch).get(name)) in DTYPES.values():
            return dtype
        if RECORDS.fullmatch(f"{module}.{name}"):
            return maker_of(f"{module}.{name}")
        if module.startswith("dnnlib.tflib"):
            raise _TensorFlowPickle
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Tensor:
        if type(pid) is not tuple or len(pid) not in (5, 6):
            raise Refused("a reference to something other than a storage")
        kind, storage_type, key, _, count, *view = pid
        wrong = type(kind) is not str or kind != "storage" or not isinstance(storage_type, StorageType)
        if wrong or type(key) not in (str, int) or type(count) is not int or (view and view[0] is not None):
            raise Refused("a reference to something other than a storage")
        return self._storage(storage_type.dtype, str(key), count)


def _nested(budget: Budget, data: Any) -> Any:
    if type(data) is not bytes:
        raise Refused("a storage that is no bytes")
    return _legacy(io.BytesIO(data), budget)


def _zipped(path: Path, budget: Budget) -> Any:
    """Read a file of torch.save since version 1.6: a zip archive of one pickle and one file per storage."""
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
    """Read a file of torch.save before version 1.6: several pickles, followed by the storages."""
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
    _Reader(file, _no_storage, budget).load()  # describes the machine that wrote the file
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
    # Unfilled memory would expose earlier data of this process.
    if filled != storages.keys():
        raise EOFError("a storage without content")
    return content


def _no_storage(*_: Any) -> Tensor:
    raise ValueError("a storage out of place")


def _plain(file: BinaryIO, budget: Budget) -> Any:
    """Read a pickle of NVIDIA's, whose tensors hold legacy files, or a legacy file, which begins with a number."""
    content = _Reader(file, _no_storage, budget).load()
    if type(content) is not int or content != _MAGIC:
        return content
    file.seek(0)
    return _legacy(file, budget)


def read_torch_file(path: str | Path) -> Any:
    """Read a `.pt`, `.pth` or `.pkl` file of PyTorch or NVIDIA. No code in the file is run.

    Args:
        path: A file of `torch.save`, of any version, or a pickle of NVIDIA's StyleGAN2-ADA or StyleGAN3.

    Returns:
        The saved content: containers, numbers, strings, tensors on the CPU, numpy arrays, and one `Record` per object.

    Raises:
        WeightsError: The file is missing or damaged, or names something that is not admitted.
    """
    path = Path(path)
    try:
        budget = Budget(path.stat().st_size)
        if zipfile.is_zipfile(path):
            content = _zipped(path, budget)
        else:
            # Of a file that claims any size, a map gives what is there; a file reserves what it is asked for.
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                content = _plain(cast(BinaryIO, mapped), budget)
        return resolve(content, _LEAVES)
    except Refused as error:
        raise WeightsError(
            f"{path} is refused, it holds {error}; only tensors and objects that StyleGAN's code pickles are admitted"
        ) from None
    except _TensorFlowPickle:
        raise WeightsError(
            f"{path} holds a TensorFlow network; convert it to PyTorch with NVIDIA's stylegan3 code: "
            "python legacy.py --source=IN.pkl --dest=OUT.pkl"
        ) from None
    except OSError as error:
        raise WeightsError(f"{path} can't be read: {error.strerror or error}") from error
    # Opcodes read from damaged bytes can raise nearly anything.
    except Exception as error:
        reason = named(" ".join(str(error).split()))
        raise WeightsError(
            f"{path} is damaged, or not a torch.save file or pickle ({type(error).__name__}: {reason}); fetch it again"
        ) from error
