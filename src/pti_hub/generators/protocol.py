"""The interface that projectors, tuners and edits rely on; every generator architecture implements it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from pti_hub.errors import InputError

NoiseMode = Literal["const", "random", "none"]
"""Fixed noise maps, new ones on each call, or no noise."""


class StyleLayer(NamedTuple):
    """The affine map A from w to the styles of one layer, one style per channel (Karras et al. 2019, section 2).

    Attributes:
        name: Name of the affine map, whose parameters are `{name}.weight` and `{name}.bias`.
        w: Index of the w that the map takes; several layers can take the same.
        weight: `[channels, w_dim]`, scaled so that a change of w by d equals a change of the bias by `weight @ d`.
    """

    name: str
    w: int
    weight: Tensor

    @property
    def bias(self) -> str:
        """Name of the parameter that holds the map's bias, `[channels]`."""
        return f"{self.name}.bias"


class Generator(Protocol):
    """A style-based generator G = synthesis ∘ mapping, a `torch.nn.Module` whose `forward` is `synthesis`.

    Attributes:
        z_dim: Width of z.
        w_dim: Width of w.
        num_ws: Number of layers that each take their own w, which is the length of a W+ code.
        resolution: Height and width of the picture, in pixels.
        w_avg: `[w_dim]`, the mean of W.
        w_std: `[]`, the root mean squared distance of w from `w_avg` (Karras et al. 2020, appendix D).
        stops_early: Whether a smaller picture comes from an inner layer; if not, it is the full picture, box-filtered.
    """

    z_dim: int
    w_dim: int
    num_ws: int
    resolution: int
    w_avg: Tensor
    w_std: Tensor
    stops_early: bool

    def mapping(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """Map z `[B, z_dim]` to w `[B, w_dim]`; `truncation` 1 leaves w unchanged, 0 gives `w_avg`.

        Args:
            z: Normally distributed codes.
            truncation: ψ, 0 to 1 or somewhat more.
        """

    def synthesis(
        self,
        ws: Tensor,
        noise_mode: NoiseMode = "const",
        noise: Sequence[Tensor] | None = None,
        resolution: int | None = None,
    ) -> Tensor:
        """Picture `[B, 3, R, R]`, about [-1, 1], of w `[B, w_dim]` or ws `[B, num_ws, w_dim]`.

        Args:
            ws: One w for all layers, or one w per layer.
            noise_mode: `"const"` for the fixed maps, `"random"` for new maps on each call, `"none"` for no noise.
            noise: Maps to use instead, with the shapes that `noise_maps` returns.
            resolution: Height and width of a smaller picture, for which only the necessary layers are computed. It
                equals the full picture box-filtered, or approximates it if the generator `stops_early`.
        """

    def features(self, ws: Tensor, resolutions: Sequence[int]) -> list[Tensor]:
        """Activations `[B, C, S, S]` of an inner layer for each of some resolutions S, computed in one pass.

        They lie over the picture without margins; the fixed noise is added to them.

        Args:
            ws: w `[B, w_dim]` or ws `[B, num_ws, w_dim]`.
            resolutions: Heights and widths, in ascending order. Layers behind the last of them are not computed.

        Raises:
            InputError: No layer has one of these resolutions.
        """

    def noise_maps(self) -> list[Tensor]:
        """The fixed noise of each layer, `[1, 1, H, W]`, from coarse to fine."""

    def style_layers(self) -> list[StyleLayer]:
        """The affine maps from w to styles in order of use, which is how Wu et al. (2021) number the layers of S.

        Every w has at least one.
        """

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor: ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...

    def requires_grad_(self, requires_grad: bool = True) -> Any: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def state_dict(self) -> dict[str, Any]: ...


def tuned_synthesis(generator: Generator, weights: Mapping[str, Tensor], ws: Tensor, **kwargs: Any) -> Tensor:
    """G(ws; θ*): synthesis with some weights replaced; the generator's own weights do not change.

    Args:
        generator: The generator.
        weights: Tuned weights by parameter name.
        ws: As in `Generator.synthesis`.
        **kwargs: Further arguments of `Generator.synthesis`.

    Returns:
        Picture `[B, 3, R, R]`.
    """
    assert isinstance(generator, nn.Module)
    picture: Tensor = _with_weights(generator, weights)(ws, **kwargs)
    return picture


def tuned_features(
    generator: Generator, weights: Mapping[str, Tensor], ws: Tensor, resolutions: Sequence[int]
) -> list[Tensor]:
    """Features as in `Generator.features`, with some weights replaced as in `tuned_synthesis`."""
    assert isinstance(generator, nn.Module)
    return cast("Generator", _with_weights(generator, weights)).features(ws, resolutions)


def _with_weights(network: nn.Module, weights: Mapping[str, Tensor], prefix: str = "") -> nn.Module:
    """The network with some weights replaced; all other tensors are shared with it.

    `torch.func.functional_call` changes the network itself for the time of the call, which other threads would see.
    """
    twin = copy.copy(network)
    twin._parameters = {name: weights.get(prefix + name, own) for name, own in network._parameters.items()}  # type: ignore[misc]
    twin._modules = {
        name: None if child is None else _with_weights(child, weights, f"{prefix}{name}.")
        for name, child in network._modules.items()
    }
    return twin


def broadcast_ws(generator: Generator, ws: Tensor) -> Tensor:
    """Expand w `[B, w_dim]` to a W+ code `[B, num_ws, w_dim]`; a W+ code is returned unchanged.

    Args:
        generator: The generator whose latents they are.
        ws: w or ws.

    Raises:
        InputError: `ws` has neither shape.
    """
    if ws.ndim == 2 and ws.shape[1] == generator.w_dim:
        return ws[:, None].expand(-1, generator.num_ws, -1)
    if ws.ndim == 3 and tuple(ws.shape[1:]) == (generator.num_ws, generator.w_dim):
        return ws
    raise InputError(
        f"latent of shape {list(ws.shape)}; expected [B, {generator.w_dim}] (W) or "
        f"[B, {generator.num_ws}, {generator.w_dim}] (W+)"
    )


def chosen_noise(
    generator: Generator, mode: NoiseMode, noise: Sequence[Tensor] | None, batch: int
) -> Sequence[Tensor | None]:
    """The noise map of each convolution, as selected by the arguments of `Generator.synthesis`.

    Raises:
        InputError: The generator needs another number of maps, or the mode is unknown.
    """
    maps = generator.noise_maps()
    if noise is not None:
        if len(noise) != len(maps):
            raise InputError(f"{len(noise)} noise maps; expected {len(maps)}, one per convolution")
        return noise
    if mode == "const":
        return maps
    if mode == "random":
        return [torch.randn_like(n.expand(batch, -1, -1, -1)) for n in maps]
    if mode == "none":
        return [None] * len(maps)
    raise InputError(f"noise_mode={mode!r}; expected 'const', 'random' or 'none'")


def chosen_resolution(generator: Generator, resolution: int | None) -> int:
    """Height and width of the picture, as selected by the arguments of `Generator.synthesis`.

    Raises:
        InputError: The resolution is below 4, or is not the generator's own divided by a power of two.
    """
    full = generator.resolution
    size = full if resolution is None else resolution
    if size < 4 or full % size or (full // size).bit_count() != 1:
        raise InputError(f"resolution={resolution}; expected {full} divided by a power of two")
    return size


@torch.no_grad()
def w_statistics(generator: Generator, num_samples: int = 10_000, seed: int = 123) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of W, estimated by sampling (Karras et al. 2020, appendix D).

    Args:
        generator: The generator whose mapping network is sampled.
        num_samples: Number of z drawn.
        seed: Seed of the draw.

    Returns:
        `w_avg` `[w_dim]` and `w_std` `[]`.
    """
    z = torch.randn(num_samples, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    w = generator.mapping(z.to(generator.w_avg.device)).double()  # [N, w_dim]
    w_avg = w.mean(0)
    w_std = (w - w_avg).square().sum(1).mean().sqrt()
    return w_avg.float(), w_std.float()
