"""What the two optimisation loops share: what they report and check, and what keeps them quick."""

from __future__ import annotations

import ctypes
import dataclasses
import math
import platform
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from safetensors.torch import save_file
from torch import Tensor

from pti_hub.checkpoints.hub import read_tensors, reading
from pti_hub.errors import InputError
from pti_hub.files import saving
from pti_hub.generators import Generator

StepCallback = Callable[[int, dict[str, Tensor]], None]
"""Called after each step with its number and its metrics, which are tensors: reading one waits for the device."""

DIVERGED = 10.0
"""A loss that many times the best one seen will not come back."""

# <malloc.h> of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_DEFAULT_TRIM_THRESHOLD, _DEFAULT_MMAP_MAX = 128 * 1024, 65536

_depth = 0


@contextmanager
def reused_memory() -> Iterator[None]:
    """Keep large freed blocks in the process while a loop runs.

    glibc gives each block over 32 MB back to the kernel when it is freed, so every step of a loop over large
    activations pays for fresh, zeroed pages: on a CPU that takes several times longer than the arithmetic. Inside
    this context the main thread's blocks are kept; at its end what is free goes back, and the allocator has glibc's
    default settings. Does nothing with another C library, in other threads, or in a process whose allocations have
    failed before, since glibc then serves a thread from another arena.
    """
    global _depth
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    if _depth == 0:
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if _depth == 0:
            libc.mallopt(_M_MMAP_MAX, _DEFAULT_MMAP_MAX)
            libc.mallopt(_M_TRIM_THRESHOLD, _DEFAULT_TRIM_THRESHOLD)
            libc.malloc_trim(0)


def mixed_precision(device: torch.device) -> AbstractContextManager[None]:
    """Autocast to bfloat16 on devices that compute it natively; elsewhere nothing changes.

    For gradients in loops. Figures to be reported and pictures to be shown are made outside.

    Args:
        device: Where the networks are.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and _cpu_computes_bf16()
    return torch.autocast(device.type, torch.bfloat16) if native else nullcontext()


def place() -> PartialState:
    """Which of how many processes this is, and its device."""
    # Only accelerate's larger classes look at its own variable. Shares of photographs may take hours more or less.
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=timedelta(days=7))


class LoopState:
    """Where a loop stands, kept in a file: the old state or the whole new one, never a part.

    Args:
        path: The file; it need not be there.
        every: Steps after which a loop writes it anew.
        writes: Whether this process is the one that writes.
    """

    def __init__(self, path: Path, every: int = 25, writes: bool = True) -> None:
        self.path, self.every, self.writes = path, every, writes

    def read(self) -> dict[str, Tensor]:
        """What was written last, on the CPU; empty where nothing was.

        Raises:
            WeightsError: The file is damaged.
        """
        if not self.path.is_file():
            return {}
        with reading(self.path, "delete it to do that part of the work anew"):
            return read_tensors(self.path)

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors by name.

        Raises:
            SaveError: The disk is full, or the place not writable.
        """
        if not self.writes:
            return
        partial = self.path.with_name(f".{secrets.token_hex(8)}.partial")
        with saving(self.path):
            try:
                save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, partial)
                partial.replace(self.path)
            finally:
                partial.unlink(missing_ok=True)


def adam_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and step counts of an optimiser, by `"adam.<parameter's number>.<key>"`."""
    state = optimizer.state_dict()["state"]
    return {f"adam.{i}.{key}": tensor for i, entry in state.items() for key, tensor in entry.items()}


def restore_adam(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Take over what `adam_state` gave, out of tensors by name."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam."):
            _, i, key = name.split(".")
            # The fused step walks moments and weights in memory, so they must lie alike.
            like = parameters[int(i)]
            moment = tensor if tensor.shape != like.shape else torch.empty_like(like).copy_(tensor)
            state.setdefault(int(i), {})[key] = moment.detach()
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def learning_rate_factor(t: float, rampup: float, rampdown: float) -> float:
    """Factor on the learning rate at time t in [0, 1): linear up, cosine down (Karras et al. 2020, D)."""
    down = min(1.0, (1 - t) / rampdown) if rampdown else 1.0
    up = min(1.0, t / rampup) if rampup else 1.0
    return (0.5 - 0.5 * math.cos(down * math.pi)) * up


def check_hyper_parameters(config: Any, above_zero: tuple[str, ...], below_one: tuple[str, ...] = ()) -> None:
    """Make sure that the fields of a dataclass are numbers of their kind, none below zero.

    Args:
        config: The dataclass.
        above_zero: Fields that may not be zero either.
        below_one: Fields that have to be less than 1.

    Raises:
        InputError: One of them is something else.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.type == "bool":
            if not isinstance(value, bool):
                raise InputError(f"{type(config).__name__}: {field.name}={value!r}; expected True or False")
            continue
        kind = "a whole number" if field.type == "int" else "a number"
        bound = "above zero" if field.name in above_zero else "of zero or more"
        good = isinstance(value, int if field.type == "int" else (int, float)) and not isinstance(value, bool)
        if not (good and math.isfinite(value) and (value > 0 or (value == 0 and field.name not in above_zero))):
            raise InputError(f"{type(config).__name__}: {field.name}={value!r}; expected {kind} {bound}")
        if field.name in below_one and value >= 1:
            raise InputError(f"{type(config).__name__}: {field.name}={value!r}; expected a number below 1")


def check_target(generator: Generator, target: Tensor) -> None:
    """Make sure that a target x is `[1, 3, R, R]`, R the generator's resolution.

    Raises:
        InputError: It is not.
    """
    expected = [1, 3, generator.resolution, generator.resolution]
    if list(target.shape) != expected:
        raise InputError(f"target of shape {list(target.shape)}; expected {expected}")


def _cpu_computes_bf16() -> bool:
    # PyTorch has no public name for it yet.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)
