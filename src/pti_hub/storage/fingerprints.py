"""Digests by which networks and pictures are known again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor


class HasState(Protocol):
    """Anything with a state dict: a network."""

    def state_dict(self) -> dict[str, Any]: ...


def fingerprint(network: HasState) -> str:
    """SHA-256 of a network's parameters and buffers with their names, rounded to bfloat16.

    Rounding gives a generator and its copy in half precision the same fingerprint.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().data)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in parts."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def picture_digest(picture: Image.Image) -> str:
    """SHA-256 of a picture's pixels, by which a photograph is known again."""
    return hashlib.sha256(picture.tobytes()).hexdigest()


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's values, by which a picture is known again."""
    return hashlib.sha256(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data).hexdigest()
