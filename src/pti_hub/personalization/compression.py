"""Weight deltas in a fraction of their size.

The deltas have structure: a layer that sees nothing but the pivot changes by a matrix of rank one, which is stored as
its two factors. The other layers are rounded to multiples of a step and packed by an entropy coder. The step is a share
of each row's standard deviation. The rounding is dithered: without dither all changes smaller than half a step would
vanish together, and tuning consists of many small changes towards one end.
"""

from __future__ import annotations

import lzma
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pti_hub.errors import InputError, WeightsError

DELTAS: dict[str, float | None] = {"exact": None, "half": None, "compact": 0.75, "small": 1.5}
"""Ways to store deltas by name, and the step in standard deviations of a row where they are rounded to one; docs/hub.md
says what each costs."""

MAX_WEIGHTS = 1 << 27
"""Number of weights of the largest generator whose deltas are read."""

_CODES = "codes"
# Number of weights below which factors or scales would take as much space as the weights.
_SMALL = 2048
_ENERGY = 1 - 1e-4
_BITS = 1.5
_LZMA = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 0, "pb": 0}]


def compress(deltas: Mapping[str, Tensor], delta: str, identities: int = 1) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Deltas → what is stored.

    Args:
        deltas: Δ by parameter name, finite.
        delta: Of `DELTAS`: `"exact"` keeps every bit, `"half"` rounds to half precision, `"compact"` and `"small"` take
            a twentieth and less.
        identities: Number of identities that share the deltas: the more there are, the finer the weights are kept.

    Returns:
        Tensors by name, and a record of JSON's types that `restore` needs as well.

    Raises:
        InputError: There is no such way to store deltas.
    """
    if delta not in DELTAS:
        raise InputError(f"delta={delta!r}; expected one of {', '.join(DELTAS)}")
    plain = {name: d.detach().cpu().contiguous() for name, d in deltas.items()}
    step = DELTAS[delta]
    if step is not None:
        step /= math.sqrt(identities)
    if delta == "exact":
        return plain, {"delta": delta}
    if step is None:
        return {name: d.half() for name, d in plain.items()}, {"delta": delta}
    tensors: dict[str, Tensor] = {}
    codes, coded = [], {}
    for name, d in plain.items():
        if d.numel() < _SMALL:
            tensors[name] = d.to(torch.bfloat16)
            continue
        matrix = d.float().reshape(d.shape[0], -1) if d.ndim > 1 else d.float()[None]
        if (factors := _factors(matrix)) is not None:
            tensors[f"{name}.left"], tensors[f"{name}.right"] = factors
            coded[name] = list(d.shape)
        else:
            # Nothing may fall outside of the codes; and what was rounded is the scale to divide by.
            scale = torch.maximum(step * matrix.std(1, correction=0), matrix.abs().amax(1) / 125)
            scale = scale.clamp_min(1e-30).to(torch.bfloat16)
            shift = _dither(matrix.shape)
            codes.append((matrix / scale.float()[:, None] + shift).round().clamp(-127, 127).to(torch.int8))
            tensors[f"{name}.scale"] = scale
            coded[name] = list(d.shape)
    packed = lzma.compress(b"".join(c.numpy().tobytes() for c in codes), lzma.FORMAT_RAW, filters=_LZMA)
    tensors[_CODES] = torch.frombuffer(bytearray(packed), dtype=torch.uint8)
    return tensors, {"delta": delta, "coded": coded}


def restore(tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> dict[str, Tensor]:
    """The inverse of `compress`; the result is float32, except that `"exact"` keeps the type it was stored in.

    Args:
        tensors: The tensors that `compress` returned.
        record: The record that `compress` returned.

    Raises:
        WeightsError: Tensors and record do not belong together, or claim more than `MAX_WEIGHTS`.
    """
    if record["delta"] == "exact":
        return dict(tensors)
    if record["delta"] not in DELTAS:
        raise WeightsError(
            f"deltas are stored as {record['delta']!r}; known are {', '.join(DELTAS)}, so update pti-hub"
        )
    shapes = {str(name): torch.Size(shape) for name, shape in record.get("coded", {}).items()}
    odd = any(len(shape) > 8 or not all(0 < size <= MAX_WEIGHTS for size in shape) for shape in shapes.values())
    claimed = math.inf if odd else sum(map(math.prod, shapes.values()))
    if claimed > MAX_WEIGHTS:
        raise WeightsError(f"deltas of {claimed:.3g} weights are claimed; expected at most {MAX_WEIGHTS:.3g}")
    parts = {f"{name}.{part}" for name in shapes for part in ("left", "right", "scale")} | {_CODES}
    deltas = {name: t.float() for name, t in tensors.items() if name not in parts}
    rounded = {name: shape for name, shape in shapes.items() if f"{name}.scale" in tensors}
    codes = _unpack(tensors[_CODES], sum(map(math.prod, rounded.values()))) if shapes else None
    start = 0
    for name, shape in shapes.items():
        if name in rounded:
            assert codes is not None
            scale = tensors[f"{name}.scale"].float()
            if scale.shape != (shape[0] if len(shape) > 1 else 1,):
                raise WeightsError(f"scales {list(scale.shape)} are not those of a delta {list(shape)}")
            matrix = codes[start : start + shape.numel()].reshape(scale.numel(), -1)
            start += shape.numel()
            deltas[name] = ((matrix - _dither(matrix.shape)) * scale[:, None]).reshape(shape)
        else:
            left, right = tensors[f"{name}.left"].float(), tensors[f"{name}.right"].float()
            rows = shape[0] if len(shape) > 1 else 1
            fits = left.ndim == right.ndim == 2 and left.shape[1] == right.shape[0]
            if not fits or (left.shape[0], right.shape[1]) != (rows, shape.numel() // rows):
                raise WeightsError(f"factors {list(left.shape)} and {list(right.shape)} are no delta {list(shape)}")
            deltas[name] = (left @ right).reshape(shape)
    return deltas


def _factors(matrix: Tensor) -> tuple[Tensor, Tensor] | None:
    """Left and right factors of a matrix of low rank; `None` where rounding the matrix would take less space."""
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    energy = s.double().square().cumsum(0)
    rank = int((energy < _ENERGY * energy[-1]).sum()) + 1
    if rank * sum(matrix.shape) * 16 >= matrix.numel() * _BITS:
        return None
    root = s[:rank].sqrt()
    return (u[:, :rank] * root).half().contiguous(), (root[:, None] * vh[:rank]).half().contiguous()


def _dither(shape: torch.Size) -> Tensor:
    # Numbers in [-0.5, 0.5), spread evenly by the golden ratio, the same everywhere: multiplication wraps around.
    turns = np.arange(math.prod(shape), dtype=np.uint32) * np.uint32(2654435769)
    return torch.from_numpy(turns.astype(np.float32)).div_(2.0**32).sub_(0.5).view(shape)


def _unpack(packed: Tensor, count: int) -> Tensor:
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_LZMA)
    try:
        # No more than was claimed, whatever the file says.
        content = decoder.decompress(packed.numpy().tobytes(), max_length=count + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise WeightsError(f"the packed deltas are damaged ({error})") from error
    if len(content) != count:
        raise WeightsError(f"the packed deltas hold {len(content)} weights or more; expected {count}")
    return torch.frombuffer(bytearray(content), dtype=torch.int8).float() if count else torch.empty(0)
