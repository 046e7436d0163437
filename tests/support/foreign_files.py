"""Files as other people's code writes them, made without that code."""

from __future__ import annotations

import os
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pti_hub.checkpoints.rosinality import _rosinality_name
from pti_hub.generators import StyleGAN2
from support.golden import golden

SMALL = {"z_dim": 8, "w_dim": 12, "img_channels": 3}

# What the objects in NVIDIA's pickles know of themselves, as far as it cannot be told from the tensors.
ATTRIBUTES: dict[str, dict[str, dict[str, Any]]] = {
    "skip": {
        "": {**SMALL, "c_dim": 0, "img_resolution": 16, "num_ws": 6},
        **{f"synthesis.b{n}": {"architecture": "skip", "use_fp16": n > 4} for n in (4, 8, 16)},
        "conv": {"conv_clamp": 256},
    },
    "resnet": {
        "": {**SMALL, "c_dim": 3, "img_resolution": 16, "num_ws": 6},
        **{f"synthesis.b{n}": {"architecture": "resnet", "use_fp16": False} for n in (4, 8, 16)},
        "conv": {"conv_clamp": 3},
    },
    "orig": {
        "": {**SMALL, "c_dim": 0, "img_resolution": 8, "num_ws": 4},
        **{f"synthesis.b{n}": {"architecture": "orig", "use_fp16": False} for n in (4, 8)},
        "conv": {"conv_clamp": None},
    },
    "tame": {  # `tame_stylegan2` of tests/support/networks.py
        "": {"z_dim": 16, "w_dim": 16, "img_channels": 3, "c_dim": 0, "img_resolution": 64, "num_ws": 10},
        **{f"synthesis.b{n}": {"architecture": "skip", "use_fp16": False} for n in (4, 8, 16, 32, 64)},
        "conv": {"conv_clamp": None},
    },
    "t": {
        "": {**SMALL, "c_dim": 0, "img_resolution": 16, "num_ws": 8},
        "synthesis": {
            "_init_kwargs": {"w_dim": 12, "channel_base": 256, "channel_max": 12, "num_layers": 6, "margin_size": 4}
        },
    },
    "r": {
        "": {**SMALL, "c_dim": 3, "img_resolution": 16, "num_ws": 8},
        "synthesis": {
            "_init_kwargs": {
                **{"channel_base": 512, "channel_max": 24, "num_layers": 6, "margin_size": 4, "output_scale": 0.5},
                **{"conv_kernel": 1, "use_radial_filters": True, "conv_clamp": 2},
            }
        },
    },
}


class Persistent:
    """Pickles as an object of NVIDIA's `torch_utils.persistence` does: with source code that would be run."""

    def __init__(self, class_name: str, state: dict[str, Any]) -> None:
        self.class_name, self.state = class_name, state

    def __reduce__(self) -> Any:
        source = "raise SystemExit('the code in the file was run')"
        meta = {
            "type": "class",
            "version": 6,
            "module_src": source,
            "class_name": self.class_name,
            "state": self.state,
        }
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


@contextmanager
def importable(objects: Mapping[str, Any]) -> Iterator[None]:
    """Make functions and classes importable by these dotted names, while something is pickled."""
    before = dict(sys.modules)
    for path, value in objects.items():
        module_name, name = path.rsplit(".", 1)
        parts = module_name.split(".")
        for i in range(len(parts)):
            parent = ".".join(parts[: i + 1])
            sys.modules.setdefault(parent, types.ModuleType(parent))
        module = sys.modules[module_name]
        value.__module__, value.__qualname__ = module_name, name
        setattr(module, name, value)
    try:
        yield
    finally:
        for name in set(sys.modules) - set(before):
            del sys.modules[name]


def nvidia_object(case: str, tensors: dict[str, Tensor] | None = None) -> Persistent:
    """The generator of a golden case as an object that pickles as NVIDIA's does."""
    if tensors is None:
        tensors = {k.removeprefix("weights/"): t for k, t in golden(case).items() if k.startswith("weights/")}
    attributes = ATTRIBUTES[case]

    def module(path: str) -> Persistent:
        own = {k: t for k, t in tensors.items() if k.rpartition(".")[0] == path}
        inner = {
            k[len(path) + 1 if path else 0 :].split(".")[0] for k in tensors if k.startswith(f"{path}." if path else "")
        }
        inner -= {k.rpartition(".")[2] for k in own}
        names = {k: k.rpartition(".")[2] for k in own}
        learned = [k for k in own if k.endswith((".weight", ".bias", ".const", ".noise_strength"))]
        state = {
            "training": False,
            "_parameters": OrderedDict((names[k], nn.Parameter(own[k])) for k in learned),
            "_buffers": OrderedDict((names[k], own[k]) for k in own if k not in learned),
            "_modules": OrderedDict((n, module(f"{path}.{n}" if path else n)) for n in sorted(inner)),
            "weight_gain": np.float64(0.25),
            **attributes.get(path, {}),
        }
        if ".conv" in path:
            state |= {"activation": "lrelu", "use_noise": True, **attributes.get("conv", {})}
        if ".fc" in path:
            state |= {"activation": "lrelu", "bias_gain": 0.01}
        return Persistent("Generator" if not path else "Layer", state)

    return module("")


def write_nvidia(path: Path, case: str, tensors: dict[str, Tensor] | None = None, alone: bool = False) -> Path:
    """A training pickle of NVIDIA's, or, alone, what the official PTI code saves of a tuned generator."""

    def reconstruct(meta: Any) -> None:
        raise AssertionError("the code in the file was run")

    class EasyDict(dict):  # type: ignore[type-arg]
        pass

    made = nvidia_object(case, tensors)
    names = {"torch_utils.persistence._reconstruct_persistent_obj": reconstruct, "dnnlib.util.EasyDict": EasyDict}
    with importable(names):
        if alone:
            torch.save(made, path)
        else:
            kwargs = EasyDict(class_name="training.dataset.ImageFolderDataset", path="faces.zip")
            content = {"G": None, "D": None, "G_ema": made, "training_set_kwargs": kwargs, "augment_pipe": None}
            path.write_bytes(pickle.dumps(content))
    return path


class Hostile:
    """Creates a file when it is unpickled by a reader that runs what it reads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def rosinality_state(resolution: int) -> dict[str, Tensor]:
    """A small generator under rosinality's names."""
    generator = StyleGAN2(resolution, channel_max=8, mapping_layers=1)
    names = {name: _rosinality_name(name) for name in generator.state_dict() if name not in ("w_std", "w_avg")}
    state = {theirs: generator.state_dict()[ours] for ours, theirs in names.items()}
    return {name: t[None] if name.endswith("conv.weight") else t for name, t in state.items()}
