"""MobileStyleGAN from OpenVINO's intermediate representation (IR v10): an XML graph and a file of raw weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from torch import Tensor

from pti_hub.errors import WeightsError, one_line
from pti_hub.generators import MobileStyleGAN, w_statistics
from pti_hub.storage import DAMAGE, INSTALL_COMMAND, find_file

_MAPPING_GAIN = 0.01 / math.sqrt(512)  # folded into the file's weights: learning-rate multiplier / √width


def load_mobile_stylegan(folder: str | Path | None = None) -> MobileStyleGAN:
    """Load the FFHQ generator at 1024² from the `random-face` package.

    Args:
        folder: Folder of `{Mapping,Synthesis}Network.{xml,bin}`; by default the folder of the installed package.

    Returns:
        The generator, with the statistics of W in `w_avg` and `w_std`.

    Raises:
        WeightsError: A file is missing or damaged, or holds another network.
    """
    if folder is None:
        for part in ("Mapping", "Synthesis"):
            for suffix in ("xml", "bin"):
                folder = find_file("random_face", f"data/{part}Network.{suffix}").parent
    mapping, synthesis = (dict(_constants(Path(f"{folder}/{part}Network.xml"))) for part in ("Mapping", "Synthesis"))
    try:
        state = {**_mapping_state(mapping), **_synthesis_state(synthesis)}
        generator = MobileStyleGAN()
        missing, unexpected = generator.load_state_dict(state, strict=False)
    except (StopIteration, *DAMAGE) as error:
        raise WeightsError(f"{folder} holds another network than MobileStyleGAN's: {one_line(error)}") from error
    if set(missing) != {"w_avg", "w_std"} or unexpected:
        raise WeightsError(f"{folder} holds another network than MobileStyleGAN's: {missing or unexpected}")
    generator.w_avg, generator.w_std = w_statistics(generator)
    return generator.eval().requires_grad_(False)


def _constants(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Names and values of a graph's float constants, in network order."""
    try:
        layers = ElementTree.parse(path).getroot().find("layers")
        weights = path.with_suffix(".bin").read_bytes()
        assert layers is not None
        for layer in layers:
            data = layer.find("data")
            if layer.get("type") != "Const" or data is None or data.get("element_type") != "f32":
                continue
            shape = [int(n) for n in (data.get("shape") or "").split(",") if n.strip()]
            offset, size = int(data.get("offset", 0)), int(data.get("size", 0))
            array = np.frombuffer(weights, np.float32, size // 4, offset).reshape(shape)
            yield layer.get("name", ""), torch.from_numpy(array.copy())
    except (OSError, ElementTree.ParseError, AssertionError, *DAMAGE) as error:
        raise WeightsError(f"{path} is missing or damaged ({one_line(error)}); run: {INSTALL_COMMAND}") from error


def _mapping_state(constants: dict[str, Tensor]) -> dict[str, Tensor]:
    wide = [c for c in constants.values() if c.numel() >= 512]
    state = {}
    for i, (weight, bias) in enumerate(zip(wide[0::2], wide[1::2], strict=True)):
        state[f"mapping_network.layers.{i}.weight"] = weight / _MAPPING_GAIN
        state[f"mapping_network.layers.{i}.bias"] = bias / 0.01
    return state


def _synthesis_state(constants: dict[str, Tensor]) -> dict[str, Tensor]:
    named = {name.removeprefix("m."): value for name, value in constants.items() if name.startswith("m.")}
    # Two kinds of constants lost their names: one noise map per convolution, and weights with folded demodulation.
    noise = iter(c for name, c in constants.items() if name.isdigit() and c.ndim == 4)
    folded = iter(c for name, c in constants.items() if name.endswith("_copy"))

    state = {
        "input": named["input.input"],
        "to_image.weight": _band_major(named["layers.6.to_img.conv.weight"]),
        "to_image.bias": _band_major(named["layers.6.to_img.bias"].flatten()),
        "to_image_modulation.weight": named["layers.6.to_img.conv.modulation.weight"],
        "to_image_modulation.bias": named["layers.6.to_img.conv.modulation.bias"].flatten(),
    }
    pairs = [("conv1", "conv")]
    pairs += [(f"layers.{i}.conv{k}", f"blocks.{i}.conv{k}") for i in range(7) for k in (1, 2)]
    for theirs, ours in pairs:
        state[f"{ours}.modulation.weight"] = named[f"{theirs}.conv.modulation.weight"]
        state[f"{ours}.modulation.bias"] = named[f"{theirs}.conv.modulation.bias"].flatten()
        if ours != "conv":
            state[f"{ours}.depthwise"] = named[f"{theirs}.conv.weight_dw"].squeeze(1)
        state[f"{ours}.weight"] = next(folded)
        state[f"{ours}.bias"] = named[f"{theirs}.bias"].flatten()
        # The file holds strength × map, where the maps were drawn from a standard normal distribution.
        scaled = next(noise)
        state[f"{ours}.noise_strength"] = scaled.std(correction=0)
        state[f"{ours}.noise_const"] = scaled / scaled.std(correction=0)
    for i in range(7):
        # `inverse_haar` expects band after band, but the file groups the three detail bands by channel. So the layers
        # that compute and scale these channels are reordered.
        before = "conv" if i == 0 else f"blocks.{i - 1}.conv2"
        state[f"{before}.weight"] = _band_major(state[f"{before}.weight"])
        state[f"{before}.bias"] = _band_major(state[f"{before}.bias"])
        state[f"blocks.{i}.up.weight"] = _band_major(named[f"layers.{i}.up.modulation.weight"])
        state[f"blocks.{i}.up.bias"] = _band_major(named[f"layers.{i}.up.modulation.bias"].flatten())
    return state


def _band_major(x: Tensor) -> Tensor:
    """Reorder 4C leading entries from C low-pass, C × 3 details to C low-pass, 3 × C details."""
    c = len(x) // 4
    return torch.cat([x[:c], x[c:].unflatten(0, (c, 3)).transpose(0, 1).flatten(0, 1)])
