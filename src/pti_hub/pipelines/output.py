"""What a call gives."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image

from pti_hub.edits import AppliedEdit
from pti_hub.errors import InputError
from pti_hub.personalization import Personalization


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
        metrics: dict[str, float],
        personalization: Personalization,
    ) -> None:
        """Add what every face and identity has.

        Args:
            image: The edited face.
            reconstruction: The face without an edit.
            edits: The edits, with the strengths that were found.
            metrics: Of the reconstruction, see `metrics`.
            personalization: What was learned.
        """
        self.images.append(image)
        self.reconstruction.append(reconstruction)
        self.edits.append(edits)
        self.metrics.append(metrics)
        self.personalizations.append(personalization)

    @property
    def personalization(self) -> Personalization:
        """The personalisation of a call with one face.

        Raises:
            InputError: There were several faces.
        """
        if len({id(p) for p in self.personalizations}) != 1:
            raise InputError(f"the call had {len(self.personalizations)} faces; use personalizations[i]")
        return self.personalizations[0]
