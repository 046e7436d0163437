"""Threads that share a pipeline get the pictures that each would get alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image

from pti_hub import PTIPipeline
from pti_hub.images import to_pil


def pictures(count: int) -> list[Image.Image]:
    random = torch.Generator().manual_seed(0)
    waves = torch.nn.functional.interpolate(torch.randn(count, 3, 4, 4, generator=random), size=64, mode="bicubic")
    return to_pil(waves.clamp(-1, 1))


def test_eight_threads_learn_and_edit_with_one_pipeline(pipe: PTIPipeline) -> None:
    def job(picture: Image.Image) -> tuple[list[np.ndarray], dict[str, torch.Tensor]]:
        out = pipe(picture, edit=["smile=2"])
        again = pipe(out.personalization, edit=["smile=-1"])
        return [np.asarray(image) for image in (*out.images, *again.images)], out.personalization.deltas

    photographs = pictures(8)
    alone = [job(photograph) for photograph in photographs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(job, photographs))
    for (images, deltas), (same_images, same_deltas) in zip(alone, together, strict=True):
        for image, same in zip(images, same_images, strict=True):
            assert np.array_equal(image, same)
        assert deltas.keys() == same_deltas.keys()
        assert all(torch.equal(deltas[name], same_deltas[name]) for name in deltas)
    assert not np.array_equal(alone[0][0][0], alone[1][0][0])
