"""Values from published code, the networks that gave them, and how their weights were drawn.

golden/stylegan.safetensors holds five small networks of NVIDIA's stylegan2-ada-pytorch and stylegan3, made with seed 3
and with noise, biases and magnitudes that matter, and what these compute on a CPU in float32: w of z, the picture of a
W+ code, and gradients for a cotangent.
"""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pti_hub.checkpoints.nvidia import nvidia_names
from pti_hub.generators import StyleGAN2, StyleGAN3
from support.places import GOLDEN


def golden(case: str) -> dict[str, Tensor]:
    """The weights of a golden case under `weights/`, what went into it and what came out."""
    return {
        k.split("/", 1)[1]: t for k, t in load_file(GOLDEN / "stylegan.safetensors").items() if k.startswith(f"{case}/")
    }


def network(case: str) -> StyleGAN2 | StyleGAN3:
    """The network of a golden case, with its weights."""
    small = {"z_dim": 8, "w_dim": 12, "mapping_layers": 2}
    skip = {"channel_base": 128, "channel_max": 12, "conv_clamp": 256.0, "num_fp16_res": 2}
    resnet = {"c_dim": 3, "mapping_hidden_dim": 10, "mapping_embed_dim": 6, "conv_clamp": 3.0}
    three = {"num_layers": 6, "margin_size": 4}
    r = {"c_dim": 3, "conv_kernel": 1, "use_radial_filters": True, "conv_clamp": 2.0, "output_scale": 0.5}
    made: StyleGAN2 | StyleGAN3
    if case == "skip":
        made = StyleGAN2(16, **small, **skip)
    elif case == "resnet":
        made = StyleGAN2(16, **small, channel_base=128, channel_max=12, architecture="resnet", **resnet)
    elif case == "orig":
        made = StyleGAN2(8, **small, channel_base=64, channel_max=12, architecture="orig")
    elif case == "t":
        made = StyleGAN3(16, **small, **three, channel_base=256, channel_max=12)
    else:
        made = StyleGAN3(16, **small, **three, **r, channel_base=512, channel_max=24)
    tensors, state = golden(case), made.state_dict()
    for ours, theirs in nvidia_names(made).items():
        state[ours] = tensors[f"weights/{theirs}"].reshape(state[ours].shape)
    made.load_state_dict(state)
    return made.eval()


CASES = pytest.mark.parametrize("case", ["skip", "resnet", "orig", "t", "r"])


def seeded(shapes: dict[str, torch.Size | list[int]], style_scale: float = 100.0) -> dict[str, Tensor]:
    """The weights that golden/rosinality.safetensors was made with: each drawn with its name's CRC as the seed."""
    weights = {}
    for name, shape in shapes.items():
        random = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        tensor = torch.randn(int(np.prod(shape)), generator=random).reshape(tuple(shape))
        tensor = tensor * (0.2 if name.endswith((".bias", "noise.weight")) else 1)
        weights[name] = tensor * (style_scale if name.startswith("style.") and name.endswith("weight") else 1)
    return weights


def rosinality_shapes() -> dict[str, list[int]]:
    """The tensors of a generator of 16² px in rosinality's code."""
    shapes: dict[str, list[int]] = {"input.input": [1, 512, 4, 4]}
    for i in (1, 2):
        shapes |= {f"style.{i}.weight": [8, 8], f"style.{i}.bias": [8]}
    for i, place in enumerate(["conv1", *(f"convs.{i}" for i in range(4))]):
        shapes |= {
            f"{place}.conv.weight": [1, 512, 512, 3, 3],
            f"{place}.conv.modulation.weight": [512, 8],
            f"{place}.conv.modulation.bias": [512],
            f"{place}.noise.weight": [1],
            f"{place}.activate.bias": [512],
            f"noises.noise_{i}": [1, 1, *[4 * 2 ** ((i + 1) // 2)] * 2],
        }
    for place in ("to_rgb1", "to_rgbs.0", "to_rgbs.1"):
        shapes |= {
            f"{place}.bias": [1, 3, 1, 1],
            f"{place}.conv.weight": [1, 3, 512, 1, 1],
            f"{place}.conv.modulation.weight": [512, 8],
            f"{place}.conv.modulation.bias": [512],
        }
    return shapes


def golden_encoder(module: nn.Module) -> dict[str, Tensor]:
    """The weights that golden/encoders.safetensors was made with, each drawn with its name's CRC as the seed."""
    state = module.state_dict()
    for name, old in state.items():
        if name.endswith(("num_batches_tracked", "latent_avg")):
            continue
        random = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        new = torch.randn(old.numel(), generator=random).reshape(old.shape)
        if name.endswith("running_var"):
            new = new.abs() + 0.5
        elif new.ndim > 1:
            new = new / new[0].numel() ** 0.5
        else:
            new = 1 + 0.2 * new if name.endswith("weight") else 0.2 * new
        state[name] = new
    return state


def encoder_photograph() -> Tensor:
    """What the encoders of golden/encoders.safetensors were shown."""
    return torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
