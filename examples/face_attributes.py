"""Smile, age and gender of faces: labels from which edit directions are learned.

The module ports the expression network and the age-and-gender network of the npm package `@vladmandic/face-api` 1.7.15
(MIT) to PyTorch, and reads their 0.8 MB of weights straight from the tarball:

    npm pack @vladmandic/face-api@1.7.15
    attributes = FaceAttributes.from_package("vladmandic-face-api-1.7.15.tgz")
    labels = attributes.predict([face_crop(image, landmarks) for image, landmarks in faces])
    labels["happy"], labels["age"], labels["female"]
"""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor, nn

from pti_hub.errors import InputError, WeightsError

PACK_COMMAND = "npm pack @vladmandic/face-api@1.7.15"
EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
SIZE = 112  # height and width of the networks' input, in pixels


class SeparableConv(nn.Module):
    """Depthwise 3x3 convolution, then pointwise 1x1 convolution, with TensorFlow's "same" padding.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: 1, or 2 to halve height and width.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, stride, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] → [B, out_channels, H/stride, W/stride]."""
        result: Tensor = self.pointwise(self.depthwise(_pad_same(x, self.depthwise.stride[0])))
        return result


def _pad_same(x: Tensor, stride: int) -> Tensor:
    # For a 3x3 kernel with stride 2 on an even size, TensorFlow pads one row and one column, at the far side.
    near = 1 if stride == 1 else 0
    return F.pad(x, (near, 1, near, 1))


class DenseBlock(nn.Module):
    """Halves height and width, then applies three convolutions, each to the sum of all previous outputs."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv0 = (
            nn.Conv2d(3, out_channels, 3, 2)  # the first block, on RGB, isn't separable
            if in_channels == 3
            else SeparableConv(in_channels, out_channels, 2)
        )
        self.conv1 = SeparableConv(out_channels, out_channels)
        self.conv2 = SeparableConv(out_channels, out_channels)
        self.conv3 = SeparableConv(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] → [B, out_channels, H/2, W/2]."""
        if isinstance(self.conv0, nn.Conv2d):
            x = _pad_same(x, 2)
        total = F.relu(self.conv0(x))
        for conv in (self.conv1, self.conv2, self.conv3):
            total = total + conv(F.relu(total))
        return F.relu(total)


class ExpressionNet(nn.Module):
    """Classifies seven facial expressions, in the order of `EXPRESSIONS`."""

    def __init__(self) -> None:
        super().__init__()
        self.dense0 = DenseBlock(3, 32)
        self.dense1 = DenseBlock(32, 64)
        self.dense2 = DenseBlock(64, 128)
        self.dense3 = DenseBlock(128, 256)
        self.fc = nn.Linear(256, len(EXPRESSIONS))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised faces [B, 3, 112, 112] → logits [B, 7]."""
        for block in (self.dense0, self.dense1, self.dense2, self.dense3):
            x = block(x)
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


class ReductionBlock(nn.Module):
    """Xception's reduction block: two separable convolutions and max pooling, plus a 1x1 convolution of the input."""

    def __init__(self, in_channels: int, out_channels: int, relu_first: bool = True) -> None:
        super().__init__()
        self.relu_first = relu_first  # False if the input comes from a ReLU
        self.separable_conv0 = SeparableConv(in_channels, out_channels)
        self.separable_conv1 = SeparableConv(out_channels, out_channels)
        self.expansion_conv = nn.Conv2d(in_channels, out_channels, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] → [B, out_channels, H/2, W/2]."""
        out = self.separable_conv0(F.relu(x) if self.relu_first else x)
        out = self.separable_conv1(F.relu(out))
        # With ceil_mode the last window overlaps the far edge, like TensorFlow's "same" padding for an even size.
        pooled: Tensor = F.max_pool2d(out, 3, 2, ceil_mode=True)
        result: Tensor = pooled + self.expansion_conv(x)
        return result


class MainBlock(nn.Module):
    """Xception's residual block: three separable convolutions, each after a ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.separable_conv0 = SeparableConv(channels, channels)
        self.separable_conv1 = SeparableConv(channels, channels)
        self.separable_conv2 = SeparableConv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] → the same shape."""
        out = x
        for conv in (self.separable_conv0, self.separable_conv1, self.separable_conv2):
            out = conv(F.relu(out))
        return out + x


class AgeGenderNet(nn.Module):
    """A small Xception with two heads: age by regression, gender by two logits (male, female)."""

    def __init__(self) -> None:
        super().__init__()
        self.entry_flow = nn.ModuleDict(
            {
                "conv_in": nn.Conv2d(3, 32, 3, 2),
                "reduction_block_0": ReductionBlock(32, 64, relu_first=False),
                "reduction_block_1": ReductionBlock(64, 128),
            }
        )
        self.middle_flow = nn.ModuleDict({"main_block_0": MainBlock(128), "main_block_1": MainBlock(128)})
        self.exit_flow = nn.ModuleDict(
            {"reduction_block": ReductionBlock(128, 256), "separable_conv": SeparableConv(256, 512)}
        )
        self.fc = nn.ModuleDict({"age": nn.Linear(512, 1), "gender": nn.Linear(512, 2)})

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised faces [B, 3, 112, 112] → ages in years [B] and gender logits [B, 2]."""
        x = F.relu(self.entry_flow["conv_in"](_pad_same(x, 2)))
        x = self.entry_flow["reduction_block_1"](self.entry_flow["reduction_block_0"](x))
        x = self.middle_flow["main_block_1"](self.middle_flow["main_block_0"](x))
        x = self.exit_flow["separable_conv"](self.exit_flow["reduction_block"](x))
        features = F.relu(x).mean(dim=(2, 3))
        return self.fc["age"](features).squeeze(1), self.fc["gender"](features)


class FaceAttributes(nn.Module):
    """Both networks for batches of face crops; create it with `from_package`, and the crops with `face_crop`."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.expression = ExpressionNet()
        self.age_gender = AgeGenderNet()
        mean = torch.tensor([122.782, 117.001, 104.298])  # RGB, in the range 0 to 255
        self.register_buffer("mean", mean.view(1, 3, 1, 1), persistent=False)

    @classmethod
    def from_package(cls, path: str | Path) -> FaceAttributes:
        """Load the weights of both networks.

        Args:
            path: The tarball of `@vladmandic/face-api` 1.7.15, as npm packs it, or the unpacked folder, which holds
                `model/`.

        Returns:
            The networks with their weights, frozen, on the CPU, in fp32.

        Raises:
            WeightsError: The tarball or folder, or a file in it, is missing or damaged.
        """
        model = cls()
        for net, name in (
            (model.expression, "face_expression_model"),
            (model.age_gender, "age_gender_model"),
        ):
            try:
                net.load_state_dict(_to_torch(read_weights(path, name)))
            except RuntimeError as error:  # torch's own message has one line per name
                raise WeightsError(
                    f"{path} holds other weights for {name} than version 1.7.15; run: {PACK_COMMAND}"
                ) from error
        return model.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Attributes of a batch of face crops; differentiable with respect to the images.

        Args:
            images: [B, 3, 112, 112], RGB in [-1, 1].

        Returns:
            Tensors [B] by name: the probabilities of the seven `EXPRESSIONS`, which sum to 1 (`"happy"` is the smile);
            `"age"` in years; and the probability `"female"`.

        Raises:
            InputError: The images have another shape.
        """
        expression, age, gender = self.logits(images)
        return {
            **dict(zip(EXPRESSIONS, expression.softmax(dim=1).unbind(dim=1), strict=True)),
            "age": age,
            "female": gender.softmax(dim=1)[:, 1],
        }

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs before the softmax, which would saturate; differentiable with respect to the images.

        Args:
            images: [B, 3, 112, 112], RGB in [-1, 1].

        Returns:
            Logits of the seven `EXPRESSIONS` [B, 7], ages in years [B], logits of male and female [B, 2].

        Raises:
            InputError: The images have another shape.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, SIZE, SIZE):
            raise InputError(
                f"got images of shape {list(images.shape)}, expected [B, 3, {SIZE}, {SIZE}]; "
                "cut the faces out with face_crop"
            )
        x = ((images + 1) * 127.5 - self.mean) / 255
        # Depthwise convolutions on a CPU are three times as fast in this layout.
        x = x.contiguous(memory_format=torch.channels_last)
        age, gender = self.age_gender(x)
        return self.expression(x), age, gender

    @torch.no_grad()
    def predict(self, faces: Sequence[Image.Image]) -> dict[str, Tensor]:
        """Attributes of face crops, given as pictures and computed on the networks' device.

        Args:
            faces: Crops of 112x112 pixels, from `face_crop`.

        Returns:
            Attributes by name, as in `forward`.

        Raises:
            InputError: `faces` is empty, or a face has another size.
        """
        result: dict[str, Tensor] = self(to_images(faces).to(self.mean.device))
        return result


def to_images(faces: Sequence[Image.Image]) -> Tensor:
    """Convert face crops to the networks' input: [B, 3, 112, 112], RGB in [-1, 1].

    Raises:
        InputError: `faces` is empty, or a face has another size.
    """
    if not faces or any(face.size != (SIZE, SIZE) for face in faces):
        sizes = [face.size for face in faces]
        raise InputError(
            f"got faces of sizes {sizes}, expected one or more of {(SIZE, SIZE)}; cut them out with face_crop"
        )
    pixels = np.stack([np.asarray(face.convert("RGB"), dtype=np.float32) for face in faces])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


def read_weights(path: str | Path, name: str) -> dict[str, np.ndarray]:
    """Read a model of TensorFlow.js: a manifest in JSON and the binary files that the manifest lists.

    A tensor is stored as fp32, or as 8-bit codes q for the values `q · scale + min`.

    Args:
        path: The npm tarball, or the unpacked folder.
        name: The model's name, e.g. `"age_gender_model"`, as in `model/<name>-weights_manifest.json`.

    Returns:
        fp32 arrays in TensorFlow's layout, by name.

    Raises:
        WeightsError: A file is missing or damaged, or has another format.
    """
    manifest = _read_file(path, f"{name}-weights_manifest.json")
    weights: dict[str, np.ndarray] = {}
    try:
        for group in json.loads(manifest):
            data = b"".join(_read_file(path, shard) for shard in group["paths"])
            offset = 0
            for entry in group["weights"]:
                quantization = entry.get("quantization", {})
                stored = quantization.get("dtype", entry["dtype"])
                if entry["dtype"] != "float32" or stored not in ("float32", "uint8"):
                    raise ValueError(f"{entry['name']} is {entry['dtype']} stored as {stored}")
                count = int(np.prod(entry["shape"]))
                dtype = np.dtype(stored).newbyteorder("<")
                values = np.frombuffer(data, dtype, count, offset).astype(np.float64)
                offset += values.size * dtype.itemsize
                if quantization:
                    values = values * quantization["scale"] + quantization["min"]
                weights[entry["name"]] = values.astype(np.float32).reshape(entry["shape"])
            if offset != len(data):
                raise ValueError(f"{len(data) - offset} bytes are left over")
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise WeightsError(
            f"{name} in {path} can't be read ({error!r}), expected fp32 or 8-bit weights "
            f"of TensorFlow.js; fetch the package again: {PACK_COMMAND}"
        ) from error
    return weights


def _read_file(path: str | Path, name: str) -> bytes:
    path = Path(path)
    try:
        if path.is_dir():
            return (path / "model" / name).read_bytes()
        with tarfile.open(path) as archive:
            member = archive.extractfile(f"package/model/{name}")
            if member is None:
                raise FileNotFoundError(name)
            return member.read()
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error) as error:
        raise WeightsError(
            f"{path} has no readable model/{name}, expected the tarball or folder of "
            f"@vladmandic/face-api 1.7.15; run: {PACK_COMMAND}"
        ) from error


def _to_torch(weights: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Convert TensorFlow's names and layouts to PyTorch's."""
    state = {}
    for name, array in weights.items():
        prefix, _, kind = name.rpartition("/")
        module = prefix.replace("/", ".")
        tensor = torch.from_numpy(array)
        if kind == "depthwise_filter":  # H, W, channel, 1
            state[f"{module}.depthwise.weight"] = tensor.permute(2, 3, 0, 1)
        elif kind == "pointwise_filter":  # 1, 1, in, out
            state[f"{module}.pointwise.weight"] = tensor.permute(3, 2, 0, 1)
        elif kind == "filters":  # H, W, in, out
            state[f"{module}.weight"] = tensor.permute(3, 2, 0, 1)
        elif kind == "weights":  # in, out
            state[f"{module}.weight"] = tensor.permute(1, 0)
        elif f"{prefix}/pointwise_filter" in weights:
            state[f"{module}.pointwise.bias"] = tensor
        else:
            state[f"{module}.bias"] = tensor
    return state


def face_crop(image: Image.Image, landmarks: np.ndarray) -> Image.Image:
    """Cut a face out as the networks expect.

    The crop is the landmarks' bounding box, enlarged by a tenth on every side, limited to the picture, and padded with
    black to a square.

    Args:
        image: The photograph, of any size and any mode that converts to RGB.
        landmarks: dlib's landmarks [68, 2], x and y in pixels of the image.

    Returns:
        The face, mode RGB, 112x112 pixels.

    Raises:
        InputError: The landmarks have another shape, aren't finite, lie outside the picture, or along a line.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise InputError(
            f"got landmarks of shape {list(points.shape)}, expected [68, 2] finite x, y in pixels; "
            "take them from dlib's shape predictor"
        )
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.1 * (high - low)
    left, top = (int(v) for v in np.maximum(low - margin, 0))
    right, bottom = (int(v) for v in np.minimum(high + margin, image.size))
    short, long = sorted((right - left, bottom - top))
    # A strip that would be no pixel wide is no face either.
    if SIZE * short <= long:
        raise InputError(
            f"got landmarks in x {low[0]:.0f} to {high[0]:.0f}, y {low[1]:.0f} to {high[1]:.0f}, "
            f"expected them to span part of the {image.width}x{image.height} picture; "
            "give the picture that the landmarks were found in"
        )
    face = image.crop((left, top, right, bottom)).convert("RGB")
    return ImageOps.pad(face, (SIZE, SIZE), Image.Resampling.BILINEAR)
