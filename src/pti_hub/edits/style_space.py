"""Edits of single style channels, and the channels that an attribute needs (Wu, Lischinski and Shechtman 2021)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pti_hub.edits.direction import check_amount
from pti_hub.edits.ganspace import GANSpace, ganspace
from pti_hub.errors import InputError
from pti_hub.generators import Generator, broadcast_ws, tuned_synthesis
from pti_hub.optim import reused_memory

_RESOLUTION = 256


@dataclass(frozen=True)
class StyleEdit:
    """A move of one style channel in StyleSpace: s + a·σ.

    A style is an affine function of w, so adding to it is adding to a bias of the generator. The latent stays.

    Args:
        name: Name of the edit, e.g. `"s:9_409"`.
        bias: Name of the generator's parameter that holds the layer's bias.
        channel: Index of the channel.
        deviation: σ, the channel's standard deviation over W, in the unit of the bias.
        strength: Number of standard deviations a; negative strengths go the opposite way.

    Raises:
        InputError: The strength is not a finite number.
    """

    name: str
    bias: str
    channel: int
    deviation: float
    strength: float = 1.0

    def __post_init__(self) -> None:
        check_amount("strength", self.strength, self.name)

    def apply(self, generator: Generator, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights with the changed bias.

        Args:
            generator: G.
            weights: θ* by parameter name; weights that are not named are the generator's own.

        Returns:
            A new mapping; `weights` and the generator stay as they are.

        Raises:
            InputError: The edit was made for another generator.
        """
        bias = (dict(generator.named_parameters()) | dict(weights)).get(self.bias)
        if bias is None or self.channel not in range(len(bias)):
            raise InputError(f"{self.name!r} changes {self.bias}[{self.channel}], which this generator does not have")
        bias = bias.detach().clone()
        bias[self.channel] += float(self.strength) * self.deviation
        return {**weights, self.bias: bias}


def style_edit(generator: Generator, layer: int, channel: int, strength: float, space: GANSpace) -> StyleEdit:
    """The edit of one style channel.

    Args:
        generator: The generator.
        layer: Number of the style layer, from 0, in the order of `Generator.style_layers`.
        channel: Number of the channel, from 0.
        strength: Number of standard deviations.
        space: The principal components of the generator's W.

    Raises:
        InputError: The layer or the channel is out of range, or the strength is not finite.
    """
    name, layers = f"s:{layer}_{channel}", generator.style_layers()
    if layer not in range(len(layers)):
        raise InputError(f"no edit is named {name!r}; this generator has layers 0 to {len(layers) - 1}")
    weight = layers[layer].weight  # [channels, w_dim]
    if channel not in range(len(weight)):
        raise InputError(f"no edit is named {name!r}; layer {layer} has channels 0 to {len(weight) - 1}")
    deviation = space.deviations_of(weight[channel : channel + 1]).item()
    return StyleEdit(name, layers[layer].bias, channel, deviation, strength)


class ChannelEffect(NamedTuple):
    """What a style channel does to an attribute.

    Attributes:
        layer: Number of the style layer.
        channel: Number of the channel.
        effect: Change of the attribute per standard deviation of the channel, to first order.
    """

    layer: int
    channel: int
    effect: float

    @property
    def name(self) -> str:
        """Name of the edit that moves the channel, e.g. `"s:9_409"`."""
        return f"s:{self.layer}_{self.channel}"


def rank_channels(
    generator: Generator,
    attribute: Callable[[Tensor], Tensor],
    latents: Tensor,
    weights: Mapping[str, Tensor] | None = None,
    space: GANSpace | None = None,
) -> list[ChannelEffect]:
    """The style channels that change an attribute most: its gradient times the channel's standard deviation.

    The gradient is taken at the given latents and averaged, so that a channel which acts differently on each of them
    ranks low. Pictures are 256² at most; layers that these do not need have effect 0.

    Args:
        generator: The generator.
        attribute: A differentiable function from pictures `[B, 3, R, R]`, about [-1, 1], to numbers `[B]`.
        latents: `[N, w_dim]` or `[N, num_ws, w_dim]`.
        weights: Tuned weights by parameter name; the generator's own by default.
        space: The principal components of the generator's W; computed by default, which takes seconds.

    Returns:
        All channels, strongest first.

    Raises:
        InputError: There are no latents, or the attribute has no gradient or another shape.
    """
    layers, ws = generator.style_layers(), broadcast_ws(generator, latents.to(generator.w_avg.device))
    if not len(ws):
        raise InputError("no latents were given to rank channels at; give some that the mapping network made")
    theta = {name: p.detach() for name, p in (dict(generator.named_parameters()) | dict(weights or {})).items()}
    biases = [theta[layer.bias].clone().requires_grad_() for layer in layers]
    theta |= {layer.bias: bias for layer, bias in zip(layers, biases, strict=True)}
    size = min(_RESOLUTION, generator.resolution)
    totals = [torch.zeros_like(bias, dtype=torch.float32) for bias in biases]
    with torch.enable_grad(), reused_memory():
        for one in ws.detach().split(1):
            value = attribute(tuned_synthesis(generator, theta, one, resolution=size))
            if value.shape != (1,) or not value.requires_grad:
                given = f"shape {list(value.shape)}" if value.requires_grad else "no gradient"
                raise InputError(f"the attribute of 1 picture has {given}; expected a differentiable tensor [1]")
            gradients = torch.autograd.grad(value.sum(), biases, allow_unused=True)
            for total, gradient in zip(totals, gradients, strict=True):
                if gradient is not None:
                    total += gradient.float() / len(ws)
    space = ganspace(generator) if space is None else space
    effects = [total.cpu() * space.deviations_of(s.weight) for total, s in zip(totals, layers, strict=True)]
    ranked = [ChannelEffect(i, j, effect) for i, part in enumerate(effects) for j, effect in enumerate(part.tolist())]
    return sorted(ranked, key=lambda channel: -abs(channel.effect))
