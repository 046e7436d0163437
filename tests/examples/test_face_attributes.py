"""The expression and age-and-gender networks that label faces."""

from __future__ import annotations

import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from support.places import EXAMPLES

from pti_hub.errors import InputError, WeightsError

sys.path.insert(0, str(EXAMPLES / "shipped_edits"))
import face_attributes as fa
from expression_net import SeparableConv
from face_crop import face_crop

PACKAGE = os.environ.get("PTI_HUB_FACE_API", "")
COMMAND = "npm pack @vladmandic/face-api@1.7.15"
MODELS = ("face_expression_model", "age_gender_model")


def write_model(folder: Path, name: str, weights: list[tuple[dict[str, Any], bytes]]) -> None:
    """A model of TensorFlow.js: one shard, its manifest beside it."""
    model = folder / "model"
    model.mkdir(parents=True, exist_ok=True)
    (model / f"{name}.bin").write_bytes(b"".join(data for _, data in weights))
    manifest = [{"weights": [entry for entry, _ in weights], "paths": [f"{name}.bin"]}]
    (model / f"{name}-weights_manifest.json").write_text(json.dumps(manifest))


def codes(name: str, values: list[int], scale: float, low: float) -> tuple[dict[str, Any], bytes]:
    """An 8-bit tensor's entry in the manifest, and its bytes."""
    quantization = {"dtype": "uint8", "scale": scale, "min": low}
    entry = {"name": name, "shape": [len(values)], "dtype": "float32"}
    return {**entry, "quantization": quantization}, bytes(values)


def floats(name: str, array: np.ndarray) -> tuple[dict[str, Any], bytes]:
    """An fp32 tensor's entry in the manifest, and its bytes."""
    entry = {"name": name, "shape": list(array.shape), "dtype": "float32"}
    return entry, np.ascontiguousarray(array).astype("<f4").tobytes()


def to_tensorflow(net: torch.nn.Module) -> list[tuple[dict[str, Any], bytes]]:
    """A network's weights under TensorFlow's names, in its layout."""
    weights = []
    for key, tensor in net.state_dict().items():
        name = key.replace(".", "/")
        if key.endswith("depthwise.weight"):
            name, tensor = name[:-7] + "_filter", tensor.permute(2, 3, 0, 1)
        elif key.endswith("pointwise.weight"):
            name, tensor = name[:-7] + "_filter", tensor.permute(2, 3, 1, 0)
        elif key.endswith("pointwise.bias"):
            name = name.replace("/pointwise", "")
        elif tensor.ndim == 4:
            name, tensor = name[:-6] + "filters", tensor.permute(2, 3, 1, 0)
        elif tensor.ndim == 2:
            name, tensor = name + "s", tensor.T
        weights.append(floats(name, tensor.numpy()))
    return weights


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    """A package folder with random weights, and the networks they are of."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("npm") / "package"
    model = fa.FaceAttributes()
    for name, net in zip(MODELS, (model.expression, model.age_gender), strict=True):
        write_model(folder, name, to_tensorflow(net))
    return folder, model


# --- the manifest -----------------------------------------------------------------------------


@given(
    values=st.lists(st.integers(0, 255), min_size=1, max_size=20),
    scale=st.floats(1e-6, 1.0),
    low=st.floats(-10.0, 10.0),
)
def test_codes_and_floats_are_read(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], scale: float, low: float
) -> None:
    folder = tmp_path_factory.mktemp("package")
    bias = np.array([[1.5, -2.0]])
    write_model(folder, "tiny", [codes("conv/filters", values, scale, low), floats("b", bias)])
    weights = fa.read_weights(folder, "tiny")
    expected = np.array([q * scale + low for q in values], dtype=np.float32)
    np.testing.assert_array_equal(weights["conv/filters"], expected)
    np.testing.assert_array_equal(weights["b"], bias)


def test_a_tensor_may_lie_across_two_shards(tmp_path: Path) -> None:
    write_model(tmp_path, "tiny", [floats("a", np.arange(6.0).reshape(2, 3))])
    model = tmp_path / "model"
    data = (model / "tiny.bin").read_bytes()
    (model / "one").write_bytes(data[:7])
    (model / "two").write_bytes(data[7:])
    file = model / "tiny-weights_manifest.json"
    manifest = json.loads(file.read_text())
    manifest[0]["paths"] = ["one", "two"]
    file.write_text(json.dumps(manifest))
    np.testing.assert_array_equal(fa.read_weights(tmp_path, "tiny")["a"], [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("missing", ["package", "tiny-weights_manifest.json", "tiny.bin"])
def test_a_missing_file_is_named_with_the_command_that_gets_it(tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "package"
    if missing != "package":
        write_model(folder, "tiny", [codes("a", [1, 2], 0.5, 0.0)])
        (folder / "model" / missing).unlink()
    with pytest.raises(WeightsError) as caught:
        fa.read_weights(folder, "tiny")
    assert missing in str(caught.value)
    assert COMMAND in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"ab", b"abcd"])
def test_a_shard_of_another_length_is_refused(tmp_path: Path, data: bytes) -> None:
    write_model(tmp_path, "tiny", [codes("a", [1, 2, 3], 0.5, 0.0)])
    (tmp_path / "model" / "tiny.bin").write_bytes(data)
    with pytest.raises(WeightsError, match="tiny"):
        fa.read_weights(tmp_path, "tiny")


@pytest.mark.parametrize(
    "manifest",
    ["", "{", "7", "{}x", "[7]", '[{"paths": ["tiny.bin"]}]', '[{"paths": [7], "weights": []}]'],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, manifest: str) -> None:
    write_model(tmp_path, "tiny", [codes("a", [1], 0.5, 0.0)])
    (tmp_path / "model" / "tiny-weights_manifest.json").write_text(manifest)
    with pytest.raises(WeightsError, match="tiny"):
        fa.read_weights(tmp_path, "tiny")


def test_a_storage_type_not_known_is_refused(tmp_path: Path) -> None:
    entry, data = codes("a", [1, 2], 0.5, 0.0)
    entry["quantization"]["dtype"] = "float16"
    write_model(tmp_path, "tiny", [(entry, data)])
    with pytest.raises(WeightsError, match="float16"):
        fa.read_weights(tmp_path, "tiny")


# --- the package ------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_the_weights_reach_their_places(package: tuple[Path, torch.nn.Module], tmp_path: Path, packed: bool) -> None:
    path, expected = package
    if packed:
        with tarfile.open(tmp_path / "face-api.tgz", "w:gz") as archive:
            archive.add(path, arcname="package")
        path = tmp_path / "face-api.tgz"
    model = fa.FaceAttributes.from_package(path)
    state = model.state_dict()
    assert state.keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_cut_off_tarball_is_refused(package: tuple[Path, torch.nn.Module], tmp_path: Path) -> None:
    whole = tmp_path / "whole.tgz"
    with tarfile.open(whole, "w:gz") as archive:
        archive.add(package[0], arcname="package")
    data = whole.read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 100):
        cut = tmp_path / "cut.tgz"
        cut.write_bytes(data[:length])
        with pytest.raises(WeightsError, match=r"cut\.tgz"):
            fa.FaceAttributes.from_package(cut)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    for tensor_name in ("fc/weights", "fc/bias", "nonsense"):
        for name in MODELS:
            write_model(tmp_path, name, [codes(tensor_name, [1, 2], 0.5, 0.0)])
        with pytest.raises(WeightsError, match="other weights for face_expression_model"):
            fa.FaceAttributes.from_package(tmp_path)


# --- the networks -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tap", "expected"),
    # TensorFlow pads an even size at stride 2 on the far side only: the window of output i starts
    # at row 2i, so its first row is 0, 2 and its last row is 2, 4, where 4 is padding.
    [((0, 0), [[0.0, 2.0], [8.0, 10.0]]), ((2, 2), [[10.0, 0.0], [0.0, 0.0]])],
)
def test_stride_two_pads_the_far_side(tap: tuple[int, int], expected: list[list[float]]) -> None:
    conv = SeparableConv(1, 1, stride=2).requires_grad_(False)
    conv.depthwise.weight.zero_()
    conv.depthwise.weight[0, 0, tap[0], tap[1]] = 1.0
    conv.pointwise.weight.fill_(1.0)
    conv.pointwise.bias.zero_()
    picture = torch.arange(16.0).view(1, 1, 4, 4)
    assert conv(picture)[0, 0].tolist() == expected


def test_predict_agrees_with_forward_and_the_batch_does_not_matter() -> None:
    torch.manual_seed(0)
    model = fa.FaceAttributes()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    batch = model.predict([Image.fromarray(p) for p in pixels])
    assert set(batch) == {*fa.EXPRESSIONS, "age", "female"}
    one = model(torch.from_numpy(pixels[1:2]).permute(0, 3, 1, 2) / 127.5 - 1)
    for name, values in batch.items():
        assert values.shape == (3,)
        torch.testing.assert_close(values[1:2], one[name].detach(), rtol=1e-4, atol=1e-5)
    expression, age, gender = model.logits(fa.to_images([Image.fromarray(p) for p in pixels]))
    torch.testing.assert_close(expression.softmax(dim=1)[:, 1], batch["happy"])
    torch.testing.assert_close(age, batch["age"])
    torch.testing.assert_close((gender[:, 1] - gender[:, 0]).sigmoid(), batch["female"])
    total = torch.stack([batch[name] for name in fa.EXPRESSIONS]).sum(dim=0)
    torch.testing.assert_close(total, torch.ones(3))


@pytest.mark.parametrize("shape", [(3, 112, 112), (1, 1, 112, 112), (1, 3, 128, 128)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="112, 112"):
        fa.FaceAttributes()(torch.zeros(shape))


@pytest.mark.parametrize("faces", [[], [Image.new("RGB", (112, 100))]])
def test_faces_of_another_size_are_refused(faces: list[Image.Image]) -> None:
    with pytest.raises(InputError, match="112"):
        fa.FaceAttributes().predict(faces)


# --- the crop ---------------------------------------------------------------------------------


def landmarks_over(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """68 points whose box is the one given."""
    t = np.linspace(0, 1, 68)[:, None]
    return np.array([left, top]) * (1 - t) + np.array([right, bottom]) * t


def test_the_crop_is_the_landmarks_box_and_a_tenth_around_it() -> None:
    image = Image.new("RGB", (300, 300), "blue")
    image.paste("red", (90, 45, 210, 165))  # the box below, 100x100, and 10 on every side
    face = np.asarray(face_crop(image, landmarks_over(100, 55, 200, 155)))
    assert face.shape == (112, 112, 3)
    assert (face == [255, 0, 0]).all()


def test_a_box_that_is_not_square_is_filled_up_with_black() -> None:
    image = Image.new("L", (300, 300), 255)
    face = np.asarray(face_crop(image, landmarks_over(100, 100, 200, 150)))
    rows = face.min(axis=(1, 2))
    assert (rows[:28] == 0).all() and (rows[28:84] == 255).all() and (rows[84:] == 0).all()


def test_a_box_over_the_border_is_cut_there() -> None:
    image = Image.new("RGB", (100, 100), "white")
    face = np.asarray(face_crop(image, landmarks_over(-50, -50, 150, 150)))
    assert (face == 255).all()


@example([0.0, 0.0, 1.0, 204.0])  # a strip one pixel wide
@given(st.lists(st.floats(-500, 1500), min_size=4, max_size=4))
def test_any_landmarks_give_a_face_or_an_input_error(corners: list[float]) -> None:
    image = Image.new("RGB", (640, 480))
    try:
        face = face_crop(image, landmarks_over(*corners))
    except InputError:
        return
    assert face.size == (112, 112)


@pytest.mark.parametrize(
    "landmarks",
    [
        np.zeros((5, 2)),
        np.full((68, 2), np.nan),
        np.zeros((68, 2)),
        landmarks_over(500, 500, 600, 600),
    ],
)
def test_landmarks_that_give_no_box_are_refused(landmarks: np.ndarray) -> None:
    with pytest.raises(InputError, match="landmarks"):
        face_crop(Image.new("RGB", (100, 100)), landmarks)


# --- the real weights -------------------------------------------------------------------------

# Logits of the package's own networks, before the softmax, for two pictures made by the formulas
# of the test: run in Node 20 with dist/face-api.esm.js of version 1.7.15 on its TensorFlow.js
# backend "cpu", by net.runNet(new NetInput([tensor])) with the picture as a tensor of floats.
GOLDEN_EXPRESSION = [
    [-2.50703478, -5.60762882, -3.13437557, -4.99362278, -2.74137282, -5.88055134, -2.83500743],
    [-3.12914181, -1.35210931, -2.50139666, -6.16934061, -10.75534916, -10.76401138, -11.45338917],
]
GOLDEN_AGE = [17.78949738, 37.91738510]
GOLDEN_GENDER = [[0.59231937, -0.35088751], [0.25820944, -0.44891527]]


@pytest.mark.skipif(not PACKAGE, reason=f"set PTI_HUB_FACE_API to the file that {COMMAND} gives")
def test_the_networks_give_what_the_original_gives() -> None:
    model = fa.FaceAttributes.from_package(PACKAGE)
    y, x, c = np.ogrid[:112, :112, :3]
    disc = (x - 55) ** 2 + (y - 60) ** 2 < 1600
    stripes = np.broadcast_to((3 * y + 5 * x + 40 * c) % 256, (112, 112, 3))
    spot = np.where(disc, 200 - 20 * c, 30 + 10 * c) + x * y % 17
    attributes = model.predict([Image.fromarray(p.astype(np.uint8)) for p in (stripes, spot)])
    expression = torch.tensor(GOLDEN_EXPRESSION).softmax(dim=1)
    for index, name in enumerate(fa.EXPRESSIONS):
        torch.testing.assert_close(attributes[name], expression[:, index], rtol=0, atol=1e-5)
    torch.testing.assert_close(attributes["age"], torch.tensor(GOLDEN_AGE), rtol=0, atol=1e-4)
    female = torch.tensor(GOLDEN_GENDER).softmax(dim=1)[:, 1]
    torch.testing.assert_close(attributes["female"], female, rtol=0, atol=1e-5)
