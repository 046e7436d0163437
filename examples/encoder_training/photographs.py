"""Photographs to train on, aligned as the generator's own pictures are."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm.auto import tqdm

from encoder_training.degradation import to_bytes
from pti_hub import PTIPipeline
from pti_hub.errors import InputError, one_line
from pti_hub.evaluation import open_photographs
from pti_hub.images import to_tensor
from pti_hub.optim import process_state


def aligned(pipe: PTIPipeline, source: str, count: int | None, size: int) -> Tensor:
    """Aligned photographs, uint8 `[N, 3, size, size]`; photographs without exactly one face are left out."""
    pictures = []
    for photograph in tqdm(
        open_photographs(source, count), desc="photographs", disable=not process_state().is_main_process
    ):
        try:
            if photograph.image is None:
                raise InputError(photograph.problem or "unreadable")
            pictures.append(to_bytes(to_tensor(pipe.prepare(photograph.image), size))[0])
        except InputError as error:
            if process_state().is_main_process:
                tqdm.write(f"left out {photograph.name}: {one_line(error)}")
    if not pictures:
        raise InputError(f"{source} holds no photograph that can be used")
    return torch.stack(pictures)
