"""Damage to files: to their bytes, and to what they say while the file as such stays whole."""

from __future__ import annotations

import io
import json
import math
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

Random = random.Random
Remake = Callable[[Random, bytes], bytes]
"""A whole file that says something damaged, from the undamaged one."""

_WHOLE = [
    *(b"", b"{", b"[]", b"{}", b"null", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"\x80\x04N.", b"\x00" * 64),
    *(b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000, struct.pack("<Q", 2**63), struct.pack("<Q", 2) + b"{}"),
]
_NUMBERS = [b"\x00" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\xff" * 8, b"\xff" * 7 + b"\x7f"]
_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 3, 64, 65, 2**16, 2**31, 2**63, 10**400, 0.5, 1e308, -1e308, 1e-320, math.nan),
    *(math.inf, "", "x", "1", "\x00", "\x1b[2J", "\ud800", "line\nline", "../../x", "a" * 5000, "\x00" * 3000),
    *([], {}, [[]], [1, 2], ["x"] * 5, [1] * 300, ["\ud800\x00" * 99] * 256, {"a": 1}, {"": {}}),
]
_TYPES = [
    *(torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64),
    *(torch.float8_e4m3fn, torch.float8_e5m2),
]


def damaged(content: bytes, name: str, others: list[bytes], chance: Random, remake: Remake | None = None) -> bytes:
    """A mutant of a file.

    Args:
        content: The file.
        name: Its name, whose suffix says what can be done to what the file says.
        others: Other files, of which parts are spliced in.
        chance: What the damage depends on.
        remake: How what the file says is damaged, where the name does not tell.

    Returns:
        What is to be written in the file's place.
    """
    remake = remake or _REMAKES.get(name.rpartition(".")[2])
    if remake is not None and chance.random() < 0.6:
        content = remake(chance, content)
        if chance.random() < 0.8:
            return content
    if chance.random() < 0.03:
        return chance.choice(_WHOLE)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        content = chance.choice(_BYTES)(content, others, chance)
    return content


def _flipped(content: bytes, others: list[bytes], chance: Random) -> bytes:
    flipped = bytearray(content)
    # Heads of files say more than their middles.
    end = len(flipped) if chance.random() < 0.5 else min(len(flipped), 512)
    for _ in range(chance.choice((1, 1, 2, 8)) if end else 0):
        flipped[chance.randrange(end)] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def _cut(content: bytes, others: list[bytes], chance: Random) -> bytes:
    a, b = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return chance.choice((content[:a], content[a:], content[:a] + content[b:]))


def _stretched(content: bytes, others: list[bytes], chance: Random) -> bytes:
    a, b = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    more = chance.choice((content[a:b], bytes(chance.randrange(2000)), chance.randbytes(chance.randrange(1, 99))))
    return chance.choice((content + more, content[:a] + more + content[a:]))


def _spliced(content: bytes, others: list[bytes], chance: Random) -> bytes:
    other = chance.choice(others)
    a, b = chance.randrange(len(content) + 1), chance.randrange(len(other) + 1)
    return chance.choice((content[:a] + other[b:], content[:a] + other[b : b + 64] + content[a + 64 :]))


def _numbered(content: bytes, others: list[bytes], chance: Random) -> bytes:
    a, number = chance.randrange(min(len(content), 2000) + 1), chance.choice(_NUMBERS)
    return content[:a] + number + content[a + len(number) :]


_BYTES = [_flipped, _flipped, _cut, _stretched, _spliced, _numbered]


def damaged_value(value: Any, chance: Random) -> Any:
    """A copy of nested lists and dicts in which one or two parts are missing, added, or something else."""
    for _ in range(chance.choice((1, 1, 2))):
        value = _damaged_part(value, chance)
    return value


def _damaged_part(value: Any, chance: Random) -> Any:
    if isinstance(value, Tensor) and chance.random() < 0.8:
        return _damaged_tensor(value, chance)
    if not isinstance(value, (dict, list)) or not value or chance.random() < 0.1:
        return chance.choice(_VALUES)
    copy: Any = value.copy()
    place = chance.choice(list(value)) if isinstance(value, dict) else chance.randrange(len(value))
    what = chance.random()
    if what < 0.1:
        del copy[place]
    elif what < 0.2 and isinstance(copy, dict):
        copy[chance.choice(["x", "", "\x00", "\ud800", "a" * 3000, *value])] = copy.pop(place)
    elif what < 0.3:
        copy[place] = chance.choice(list(value.values()) if isinstance(value, dict) else value)
    else:
        copy[place] = _damaged_part(copy[place], chance)
    return copy


def _damaged_tensor(tensor: Tensor, chance: Random) -> Tensor:
    what = chance.randrange(7)
    if what == 0:
        return tensor.to(chance.choice(_TYPES))
    if what == 1:
        return tensor.flatten() if chance.random() < 0.5 else tensor[None]
    if what == 2:
        return tensor.flatten()[: chance.randrange(3)].clone()
    if what == 3:
        return tensor.flatten()[0].clone() if tensor.numel() else tensor
    if what == 4:
        return tensor.mT.contiguous() if tensor.ndim > 1 else torch.zeros(chance.randrange(3000))
    filling = chance.choice((0, 1, -1, 2, 127, 1e30, math.nan, math.inf, 3e-39))
    filled = tensor.double().clone()
    filled.flatten()[chance.randrange(filled.numel()) if filled.numel() and what == 5 else slice(None)] = filling
    return filled.to(tensor.dtype)


def _json(chance: Random, content: bytes) -> bytes:
    return json.dumps(damaged_value(json.loads(content), chance)).encode()


def _safetensors(chance: Random, content: bytes) -> bytes:
    end = 8 + struct.unpack("<Q", content[:8])[0]
    if chance.random() < 0.4:
        header = json.dumps(damaged_value(json.loads(content[8:end]), chance)).encode()
        return struct.pack("<Q", len(header)) + header + content[end:]
    tensors = damaged_value(safetensors.torch.load(content), chance)
    tensors = {name: t for name, t in tensors.items() if isinstance(t, Tensor)} if isinstance(tensors, dict) else {}
    # What cannot be written is no whole file; shared memory is one such case.
    tensors = {name.encode(errors="replace").decode(): t.clone().contiguous() for name, t in tensors.items()}
    return safetensors.torch.save(tensors)


def _zipped(chance: Random, content: bytes) -> bytes:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return content
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        chosen = chance.choice([*names, *(name for name in names if name.endswith(".pkl"))])
        for name in names:
            part = old.read(name)
            if name == chosen:
                part = chance.choice(_BYTES)(part, [content], chance)
            new.writestr(name, part)
    return made.getvalue()


_REMAKES: dict[str, Remake] = {"json": _json, "safetensors": _safetensors, "pt": _zipped, "pth": _zipped}
