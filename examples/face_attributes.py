"""Smile, age and gender of faces: labels from which edit directions are learned.

PyTorch versions of the expression and the age-and-gender network of the npm package
`@vladmandic/face-api` 1.7.15 (MIT), with its 0.8 MB of weights, read straight from the tarball:

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
SIZE = 112  # side of the networks' input, pixels


class SeparableConv(nn.Module):
    """Depthwise 3x3, then pointwise 1x1 convolution, with TensorFlow's "same" padding.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: 1, or 2 for half the size.
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
    # A 3x3 kernel at stride 2 on an even size: TensorFlow pads one row and column, at the far side.
    near = 1 if stride == 1 else 0
    return F.pad(x, (near, 1, near, 1))


class DenseBlock(nn.Module):
    """Halves the size, then three convolutions, each of which sees the sum of all before it."""

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
    """Seven facial expressions, in the order of `EXPRESSIONS`."""

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
    """Xception's halving block: two separable convolutions and a max pool, beside a 1x1 one."""

    def __init__(self, in_channels: int, out_channels: int, relu_first: bool = True) -> None:
        super().__init__()
        self.relu_first = relu_first  # False where the input has just been through a ReLU
        self.separable_conv0 = SeparableConv(in_channels, out_channels)
        self.separable_conv1 = SeparableConv(out_channels, out_channels)
        self.expansion_conv = nn.Conv2d(in_channels, out_channels, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] → [B, out_channels, H/2, W/2]."""
        out = self.separable_conv0(F.relu(x) if self.relu_first else x)
        out = self.separable_conv1(F.relu(out))
        # ceil_mode: the last window hangs over the far side, TensorFlow's "same" for an even size.
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
    """Both networks on a batch of face crops. `from_package` makes it, `face_crop` the crops."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.expression = ExpressionNet()
        self.age_gender = AgeGenderNet()
        mean = torch.tensor([122.782, 117.001, 104.298])  # RGB, of 0-255
        self.register_buffer("mean", mean.view(1, 3, 1, 1), persistent=False)

    @classmethod
    def from_package(cls, path: str | Path) -> FaceAttributes:
        """Reads the weights of both networks.

        Args:
            path: The tarball of `@vladmandic/face-api` 1.7.15 as npm packs it, or the folder it
                unpacks to (the one that holds `model/`).

        Returns:
            The networks with their weights, frozen, on the CPU, in fp32.

        Raises:
            WeightsError: The tarball, the folder or a file in it is missing or damaged.
        """
        model = cls()
        for net, name in (
            (model.expression, "face_expression_model"),
            (model.age_gender, "age_gender_model"),
        ):
            try:
                net.load_state_dict(_to_torch(read_weights(path, name)))
            except RuntimeError as error:  # torch's own message has a line for every name
                raise WeightsError(
                    f"{path} holds other weights for {name} than version 1.7.15; run: {PACK_COMMAND}"
                ) from error
        return model.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Attributes of a batch of face crops. Differentiable in the images.

        Args:
            images: [B, 3, 112, 112], RGB in [-1, 1].

        Returns:
            Tensors [B]: the probability of each of the seven `EXPRESSIONS`, which sum to 1
            (`"happy"` is the smile); `"age"` in years; `"female"`, a probability.

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
        """What the networks say before any softmax, which saturates. Differentiable in the images.

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
        """Attributes of face crops given as pictures, on the device the networks are on.

        Args:
            faces: Crops of 112x112 pixels, of `face_crop`.

        Returns:
            As of `forward`.

        Raises:
            InputError: There is no face, or one of another size.
        """
        result: dict[str, Tensor] = self(to_images(faces).to(self.mean.device))
        return result


def to_images(faces: Sequence[Image.Image]) -> Tensor:
    """Face crops as the networks take them: [B, 3, 112, 112], RGB in [-1, 1].

    Raises:
        InputError: There is no face, or one of another size.
    """
    if not faces or any(face.size != (SIZE, SIZE) for face in faces):
        sizes = [face.size for face in faces]
        raise InputError(
            f"got faces of sizes {sizes}, expected one or more of {(SIZE, SIZE)}; cut them out with face_crop"
        )
    pixels = np.stack([np.asarray(face.convert("RGB"), dtype=np.float32) for face in faces])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


def read_weights(path: str | Path, name: str) -> dict[str, np.ndarray]:
    """Reads one model of TensorFlow.js: a manifest in JSON and the binary files it lists.

    A tensor is fp32, or 8-bit codes q that stand for `q · scale + min`.

    Args:
        path: The npm tarball, or the folder it unpacks to.
        name: The model's name, e.g. `"age_gender_model"`, of `model/<name>-weights_manifest.json`.

    Returns:
        Arrays by name, fp32, in TensorFlow's layout.

    Raises:
        WeightsError: A file is missing, damaged, or uses another format.
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
            f"of TensorFlow.js; get the package anew: {PACK_COMMAND}"
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
    """TensorFlow's names and layouts → PyTorch's."""
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
    """Cuts a face out as the networks were made for it.

    The box round the landmarks, a tenth of its size added on every side, cut at the picture's
    borders, filled up with black to a square.

    Args:
        image: The photograph, any size, any mode that converts to RGB.
        landmarks: dlib's 68 landmarks [68, 2] as x, y in pixels of the image.

    Returns:
        The face, RGB, 112x112.

    Raises:
        InputError: The landmarks have another shape, aren't finite, or lie outside the picture.
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
    if right <= left or bottom <= top:
        raise InputError(
            f"got landmarks in x {low[0]:.0f} to {high[0]:.0f}, y {low[1]:.0f} to {high[1]:.0f}, "
            f"expected them to span part of the {image.width}x{image.height} picture; "
            "give the picture they were found in"
        )
    face = image.crop((left, top, right, bottom)).convert("RGB")
    return ImageOps.pad(face, (SIZE, SIZE), Image.Resampling.BILINEAR)
