"""In which precision gradients are computed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def mixed_precision(device: torch.device, wanted: bool = True) -> AbstractContextManager[None]:
    """Autocast to bfloat16 on devices that compute it natively; elsewhere nothing changes.

    For gradients in loops, and drafts of pictures. Metrics that are reported and pictures that are saved are computed
    outside.

    Args:
        device: Where the networks are.
        wanted: Whether to round at all.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and _cpu_computes_bf16()
    return torch.autocast(device.type, torch.bfloat16) if native and wanted else nullcontext()


def _cpu_computes_bf16() -> bool:
    # PyTorch has no public name for it yet.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)
