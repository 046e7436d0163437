"""An encoder small enough to train on a laptop: AlexNet's convolutions and a head to W, or to W+ close to W."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pti_hub.errors import InputError, WeightsError
from pti_hub.optim import GradientPreconditioner
from pti_hub.perceptual.lpips import MEAN, STD, alex_features
from pti_hub.storage import Network, load_network

Space = Literal["w", "w+"]

SHIPPED = Path(str(files("pti_hub.encoders"))) / "data" / "mobilestylegan-ffhq"
FILES = ("config.json", "model.safetensors")

# Positions of the body's activations that the head reads, and their channels: a fine activation for colour and hair,
# coarse ones for the rest.
_TAPS = {4: 192, 7: 384, 11: 256}
# Channels of the head's two convolutions, and rank of the offsets in W+.
_REDUCED, _LAST, _OFFSETS = 160, 64, 64


class LightEncoder(Network, tags=["stylegan", "gan-inversion", "encoder"]):
    """Maps pictures to latents in a few milliseconds; implements the `Encoder` protocol.

    Weights are random until trained (`examples/train_encoder.py`). For latents of width 512 the encoder has 3.9 million
    weights, 64 % of them in the body.

    Args:
        w_dim: Width of w.
        num_ws: Number of layers of the generator.
        space: `"w"` gives one w; `"w+"` gives a w and, for every layer, a small offset from that w, as in e4e (Tov et
            al. 2021, section 4.1).
        resolution: Height and width of the input pictures, in pixels.
        num_axes: Number of axes of the gradient preconditioner that is saved with the encoder and used to refine
            latents; 0 for no preconditioner.

    Raises:
        InputError: The space is unknown, or a number is out of range.
    """

    axes: Tensor
    sensitivity: Tensor
    w_avg: Tensor
    w_scale: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self, w_dim: int = 512, num_ws: int = 16, space: Space = "w", resolution: int = 192, num_axes: int = 0
    ) -> None:
        super().__init__()
        if (
            space not in ("w", "w+")
            or w_dim not in range(1, 2049)
            or num_ws not in range(2, 65)
            or resolution not in range(64, 1025)
            or num_axes not in range(w_dim + 1)
        ):
            raise InputError(
                f"w_dim={w_dim!r}, num_ws={num_ws!r}, space={space!r}, resolution={resolution!r}, num_axes="
                f"{num_axes!r}; expected 1 to 2048, 2 to 64, 'w' or 'w+', 64 to 1024, and 0 to w_dim"
            )
        self.w_dim, self.num_ws, self.space, self.resolution, self.num_axes = w_dim, num_ws, space, resolution, num_axes
        self.body = alex_features()
        self.reduce = nn.Conv2d(sum(_TAPS.values()), _REDUCED, 1)
        self.shrink = nn.Conv2d(_REDUCED, _LAST, 3, 2, 1)
        # The body has stride 4 and two poolings; the head's second convolution halves the size again.
        side = (((resolution - 7) // 4 + 1 - 3) // 2 + 1 - 3) // 2 + 1
        features = _LAST * ((side + 1) // 2) ** 2
        self.to_w = nn.Linear(features, w_dim)
        if space == "w+":
            self.to_offsets = nn.Linear(features, _OFFSETS)
            # Zero, so that training starts in W.
            self.offset_bases = nn.Parameter(torch.zeros(num_ws, _OFFSETS, w_dim))
        self.register_buffer("w_avg", torch.zeros(w_dim))
        self.register_buffer("w_scale", torch.ones(w_dim))
        if num_axes:
            self.register_buffer("axes", torch.zeros(num_axes, w_dim).fill_diagonal_(1))
            self.register_buffer("sensitivity", torch.zeros(num_axes))
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def preconditioner(self) -> GradientPreconditioner | None:
        """The generator's gradient preconditioner, with `num_axes` axes; `None` if `num_axes` is 0.

        Raises:
            InputError: The preconditioner to set has another number of axes, or another width of w.
        """
        return GradientPreconditioner(self.axes.float(), self.sensitivity.float()) if self.num_axes else None

    @preconditioner.setter
    def preconditioner(self, preconditioner: GradientPreconditioner) -> None:
        given, expected = list(preconditioner.axes.shape), [self.num_axes, self.w_dim]
        if given != expected:
            raise InputError(
                f"a preconditioner of {given}; expected {expected}: make the encoder with num_axes={given[0]}"
            )
        self.axes.copy_(preconditioner.axes)
        self.sensitivity.copy_(preconditioner.sensitivity)

    def forward(self, images: Tensor) -> Tensor:
        """Map pictures `[B, 3, resolution, resolution]` in [-1, 1] to w `[B, w_dim]` or ws `[B, num_ws, w_dim]`.

        Args:
            images: The pictures.
        """
        x = ((images - self.mean) / self.std).to(self.to_w.weight.dtype, memory_format=torch.channels_last)
        activations = []
        for i, layer in enumerate(self.body):
            x = layer(x)
            if i in _TAPS:
                activations.append(x)
        # Bring the fine activation to the size of the coarse ones.
        activations[0] = F.avg_pool2d(activations[0], 3, 2)
        x = F.leaky_relu(self.reduce(torch.cat(activations, 1)), 0.2)
        x = F.leaky_relu(self.shrink(x), 0.2).flatten(1)
        w: Tensor = self.to_w(x).float() * self.w_scale + self.w_avg
        if self.space == "w":
            return w
        offsets = torch.einsum("bk,lkd->bld", self.to_offsets(x).float(), self.offset_bases.float())
        return w[:, None] + offsets * self.w_scale


def shipped_encoder() -> LightEncoder:
    """The encoder trained for the default generator, whose weights the package holds in half precision.

    Raises:
        WeightsError: The package is damaged.
    """
    try:
        return load_network(LightEncoder, SHIPPED)
    except WeightsError as error:
        raise WeightsError(f"the encoder in {SHIPPED} is missing or damaged; install pti-hub anew") from error
