"""What a call gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from PIL import Image

from pti_hub.edits import AppliedEdit
from pti_hub.errors import InputError
from pti_hub.images import load_image, to_tensor
from pti_hub.personalization import Personalization

OutputType = Literal["pil", "np", "pt"]
"""Kinds of pictures: PIL's, NumPy's arrays, PyTorch's tensors."""


@dataclass(frozen=True)
class PTIOutput:
    """What a call gives, one entry per face or identity.

    Attributes:
        images: The edited faces G(w_p + a·d; θ*), at the generator's resolution; without an edit the reconstruction.
        reconstruction: G(w_p; θ*).
        edits: The edits as they were applied; measured steps and angles are given as the
            strength of the vector that was found.
        metrics: Of the reconstruction `"lpips"` (the pipeline's perceptual network at full size), `"mse"` (pixel values
            in [-1, 1]), and where the face was found `"lpips_face"` (LPIPS of the face alone); and what
            `latent_statistics` says of the pivot.
        personalizations: Tuned weights and pivots; given in place of a photograph, they are not computed again.
        aligned: The faces as the generator sees them; empty for identities.
        projection: G(w_p; θ), the pivot in the original generator; empty for identities without a photograph.
        photographs: The whole photographs, one entry per photograph, at their own size and in their own colours,
            changed only where the edits changed the faces; `pti_hub.images.save_image` writes them as they came, with
            EXIF data, colour profile and JPEG quality.
    """

    images: list[Image.Image] = field(default_factory=list)
    reconstruction: list[Image.Image] = field(default_factory=list)
    edits: list[list[AppliedEdit]] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)
    personalizations: list[Personalization] = field(default_factory=list)
    aligned: list[Image.Image] = field(default_factory=list)
    projection: list[Image.Image] = field(default_factory=list)
    photographs: list[Image.Image] = field(default_factory=list)

    def add(
        self,
        image: Image.Image,
        reconstruction: Image.Image,
        edits: list[AppliedEdit],
        personalization: Personalization,
        name: str,
    ) -> None:
        """Add what every face and identity has.

        Args:
            image: The edited face.
            reconstruction: The face without an edit.
            edits: The edits, with the strengths that were found.
            personalization: What was learned.
            name: Whose face of these it is.
        """
        self.images.append(image)
        self.reconstruction.append(reconstruction)
        self.edits.append(edits)
        self.metrics.append(personalization.metrics.get(name, {}))
        self.personalizations.append(personalization)

    def converted(self, output_type: OutputType) -> PTIOutput:
        """The same output with other kinds of pictures.

        Args:
            output_type: `"pil"` leaves all as it is. With `"np"`, `images`, `reconstruction`, `aligned` and
                `projection` are one float32 array [N, H, W, 3] in [0, 1] each, with `"pt"` one tensor [N, 3, H, W] in
                [0, 1] on the CPU. Photographs have sizes of their own, so `photographs` is a list, of [H, W, 3] or
                [3, H, W], in sRGB, without transparency.

        Raises:
            InputError: No such type.
        """
        check_output_type(output_type)
        if output_type == "pil":
            return self
        faces = {name: getattr(self, name) for name in ("images", "reconstruction", "aligned", "projection")}
        converted: dict[str, Any] = {name: _stacked(pictures, output_type) for name, pictures in faces.items()}
        photographs = [_stacked([load_image(photograph)], output_type)[0] for photograph in self.photographs]
        return dataclasses.replace(self, photographs=photographs, **converted)

    @property
    def personalization(self) -> Personalization:
        """The personalisation of a call with one face.

        Raises:
            InputError: There were several faces.
        """
        if len({id(p) for p in self.personalizations}) != 1:
            raise InputError(f"the call had {len(self.personalizations)} faces; use personalizations[i]")
        return self.personalizations[0]


def check_output_type(output_type: str) -> None:
    """Make sure that there is such a kind of pictures.

    Raises:
        InputError: There is not.
    """
    if output_type not in get_args(OutputType):
        raise InputError(f"output_type={output_type!r}; expected one of {', '.join(get_args(OutputType))}")


def _stacked(pictures: Sequence[Image.Image], output_type: OutputType) -> Any:
    """Pictures of one size as one array [N, H, W, 3] or tensor [N, 3, H, W] in [0, 1]; none stay an empty list."""
    if not pictures:
        return []
    tensor = torch.cat([to_tensor(picture) for picture in pictures]) / 2 + 0.5
    return tensor if output_type == "pt" else tensor.permute(0, 2, 3, 1).contiguous().numpy()
