"""Style mixing: some layers take the style of another latent (Karras et al. 2019, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pti_hub.edits.direction import check_amount
from pti_hub.errors import InputError


@dataclass(frozen=True, eq=False)
class StyleMix:
    """An edit that replaces w in layers `first` to `last` by the source's w.

    Args:
        name: Name of the edit, e.g. `"mix:bob"`.
        source: `[w_dim]` or `[num_ws, w_dim]`.
        first: First layer to replace; layer 0 is the coarsest.
        last: Last layer to replace.
        strength: 1 replaces w, 0 leaves w unchanged; other strengths interpolate or extrapolate linearly.

    Raises:
        InputError: The strength is not a finite number.
    """

    name: str
    source: Tensor
    first: int
    last: int
    strength: float = 1.0

    def __post_init__(self) -> None:
        check_amount("strength", self.strength, self.name)

    def apply(self, ws: Tensor) -> Tensor:
        """The mixed latent.

        Args:
            ws: `[B, num_ws, w_dim]`.

        Returns:
            A new tensor like `ws`.

        Raises:
            InputError: The layers are out of range, or the source belongs to another generator.
        """
        num_ws, w_dim = ws.shape[1:]
        if not 0 <= self.first <= self.last < num_ws:
            raise InputError(
                f"layers {self.first} to {self.last} of {self.name!r}; expected 0 <= first <= last < {num_ws}"
            )
        if tuple(self.source.shape) not in ((w_dim,), (num_ws, w_dim)):
            raise InputError(
                f"source {self.name!r} of shape {list(self.source.shape)}; expected [{w_dim}] or [{num_ws}, {w_dim}]"
            )
        mixed, layers = ws.clone(), slice(self.first, self.last + 1)
        source = self.source.to(ws).expand(num_ws, w_dim)[layers]  # [layers, w_dim]
        mixed[:, layers] += float(self.strength) * (source - mixed[:, layers])
        return mixed
