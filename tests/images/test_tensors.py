"""From pictures to tensors and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from support.pictures import pattern, pixel, same

from pti_hub.errors import ImageError
from pti_hub.images import to_pil, to_tensor


def test_tensors_range_from_black_to_white() -> None:
    tensor = to_tensor(Image.fromarray(np.array([[[0, 255, 51]]], np.uint8)))
    assert tensor.dtype == torch.float32
    assert tensor.shape == (1, 3, 1, 1)
    assert torch.allclose(tensor.flatten(), torch.tensor([-1.0, 1.0, -0.6]))


def test_every_8_bit_value_survives_the_round_trip() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = Image.fromarray(np.stack([values, values.T, 255 - values], axis=-1))
    assert same(to_pil(to_tensor(picture))[0], picture)


def test_to_pil_rounds_to_the_nearest_level() -> None:
    level = torch.tensor([10.4, 10.6, 300.0]).reshape(1, 3, 1, 1)
    assert pixel(to_pil(level / 127.5 - 1)[0]) == (10, 11, 255)


def test_to_pil_gives_one_picture_per_entry_even_with_gradients() -> None:
    batch = torch.cat([to_tensor(pattern()), -to_tensor(pattern())]).requires_grad_()
    first, second = to_pil(batch)
    assert same(first, pattern())
    assert np.array_equal(np.asarray(second), 255 - np.asarray(first))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3, 4, 4),
        torch.zeros(1, 1, 4, 4),
        torch.zeros(1, 3, 0, 4),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        torch.full((1, 3, 4, 4), float("nan")),
    ],
    ids=["CHW", "grey", "empty", "uint8", "NaN"],
)
def test_to_pil_refuses_what_is_no_picture(tensor: torch.Tensor) -> None:
    with pytest.raises(ImageError):
        to_pil(tensor)


def test_to_tensor_resizes_squares_only() -> None:
    assert to_tensor(pattern(32, 32), size=16).shape == (1, 3, 16, 16)
    assert to_tensor(pattern(24, 16)).shape == (1, 3, 16, 24)
    with pytest.raises(ImageError, match="24×16"):
        to_tensor(pattern(24, 16), size=16)
    with pytest.raises(ImageError, match="RGBA"):
        to_tensor(pattern().convert("RGBA"))
