"""Reading pickles of numpy arrays without running any code that they name, not even numpy's."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pti_hub.checkpoints.unpickling.restricted import (
    Budget,
    Refused,
    RestrictedUnpickler,
    StandIn,
    checked_size,
    name_of,
    named,
    resolve,
)
from pti_hub.errors import WeightsError
from pti_hub.storage import INSTALL_COMMAND


class DTypeStandIn(StandIn):
    """Stands in for `numpy.dtype`; admits numbers and booleans, but no structures and no objects."""

    def __init__(self, code: str, align: bool, copy: bool) -> None:
        if not re.fullmatch(r"[biufc]\d{1,2}", code):
            raise Refused(f"an array of dtype {named(code)!r}")
        self.value = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, byte_order, *structure = state
        if structure[:3] != [None, None, None]:
            raise Refused("an array of structured dtype")
        self.value = self.value.newbyteorder(byte_order)


class _NDArray:
    """Stands in for `numpy.ndarray`, which array pickles name but never need to call."""

    def __init__(self, *args: object) -> None:
        raise Refused("a call of numpy.ndarray")

    def __setstate__(self, state: object) -> None:
        raise Refused("a state for numpy.ndarray")


class ArrayStandIn(StandIn):
    """Stands in for numpy's `_reconstruct`, whose result is filled in by `__setstate__`."""

    value: np.ndarray[Any, Any] | None = None

    def __init__(self, kind: type, shape: tuple[int, ...], code: bytes) -> None:
        if kind is not _NDArray:
            raise Refused(f"_reconstruct of a {name_of(kind)}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        if type(dtype) is not DTypeStandIn or type(data) is not bytes:
            raise Refused("an array whose content is not numbers")
        if math.prod(checked_size(shape)) * dtype.value.itemsize != len(data):
            raise ValueError(f"{len(data)} bytes for shape {shape} of {dtype.value}")
        order: Literal["F", "C"] = "F" if is_fortran else "C"
        self.value = np.ndarray(shape, dtype.value, buffer=data, order=order).copy(order)

    def content(self) -> np.ndarray[Any, Any]:
        """The array."""
        return super().content() if self.value is None else self.value


# numpy 2 renamed the module; files from before and after name the same three objects.
ARRAY_CLASSES = {
    ("numpy.core.multiarray", "_reconstruct"): ArrayStandIn,
    ("numpy._core.multiarray", "_reconstruct"): ArrayStandIn,
    ("numpy", "ndarray"): _NDArray,
    ("numpy", "dtype"): DTypeStandIn,
}


class _ArrayUnpickler(RestrictedUnpickler):
    stateful = (ArrayStandIn, DTypeStandIn)
    admitted = ARRAY_CLASSES


def load_arrays(path: Path) -> Any:
    """Read a pickle that holds numpy arrays in plain containers, and nothing else.

    Supports pickle protocols 3 and 4, as written under numpy 1 or 2. Names in the file are looked up in a table of
    stand-ins, so that the file can neither import nor call anything else.

    Args:
        path: The file.

    Returns:
        The pickled object: dicts, lists and tuples of arrays, numbers, strings, bytes and None.

    Raises:
        WeightsError: The file can't be read, is damaged, or holds something else, which the message names.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: can't be read ({error.strerror}); reinstall: {INSTALL_COMMAND}") from error
    try:
        content = _ArrayUnpickler(io.BytesIO(data), Budget(len(data))).load()
        return resolve(content, (bool, int, float, str, bytes))
    except Refused as error:
        raise WeightsError(
            f"{path}: refused, it holds {error}; only numpy arrays of numbers are admitted; "
            f"reinstall: {INSTALL_COMMAND}"
        ) from None
    except Exception as error:  # opcodes read from damaged bytes can raise nearly anything
        raise WeightsError(
            f"{path}: is damaged, not a pickle of arrays ({type(error).__name__}); reinstall: {INSTALL_COMMAND}"
        ) from error
