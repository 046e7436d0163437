"""Identities opened for editing, and the way of their edits back into the photograph."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pti_hub.edits import AnyEdit, AppliedEdit, EditInput, YawEdit
from pti_hub.errors import InputError
from pti_hub.faces import Compositor, Placement, find_occluders
from pti_hub.images import Photograph
from pti_hub.logging import get_logger
from pti_hub.personalization import Personalization, add_deltas
from pti_hub.pipelines.components import Components
from pti_hub.pipelines.identities import require_identities
from pti_hub.pipelines.rendering import apply_edits, render


class Portrait:
    """An identity opened for editing: what all edits of it share is computed once, when it is first needed.

    Args:
        components: The pipeline.
        personalization: What was learned.
        name: Name of the identity's pivot.
    """

    def __init__(self, components: Components, personalization: Personalization, name: str) -> None:
        self.components, self.personalization, self.name = components, personalization, name
        self.pivot = personalization.pivots[name][None].to(components.device)

    @property
    def weights(self) -> dict[str, Tensor]:
        """θ* by parameter name: not kept, since there may be many identities, and adding takes milliseconds."""
        return add_deltas(self.components.generator, self.personalization.deltas)

    @property
    def placement(self) -> Placement:
        """Where in the photograph the face lies; a `KeyError` where it comes from no photograph."""
        return self.personalization.placements[self.name]

    @functools.cached_property
    def projection(self) -> Image.Image:
        """G(w_p; θ)."""
        return render(self.components.generator, {}, self.pivot)

    @functools.cached_property
    def reconstruction(self) -> Image.Image:
        """G(w_p; θ*)."""
        return render(self.components.generator, self.weights, self.pivot)

    @functools.cached_property
    def occluded(self) -> NDArray[Any] | None:
        """Where something lies before the face; see `find_occluders`."""
        if not self.components.aligns_faces:
            return None
        found = find_occluders(self.components.projector_perceptual, self.reconstruction, self.projection)
        if found is not None:
            get_logger(__name__).info("something lies before a face, such as a hand: the edit leaves it as it is")
        return found

    def edited(self, edits: Sequence[AnyEdit]) -> tuple[Image.Image, list[AppliedEdit]]:
        """G(w_p + a·d; θ*).

        Args:
            edits: The edits, in order.

        Returns:
            The picture, which is `reconstruction` itself if there is no edit; and the edits with the strengths that
            were found by measuring.

        Raises:
            InputError: As `apply_edits`.
        """
        known = self.components.measurements(self.personalization)
        weights, ws, applied = apply_edits(self.components, self.weights, self.pivot, edits, known)
        return render(self.components.generator, weights, ws) if applied else self.reconstruction, applied

    def draft(self, edits: Sequence[AnyEdit], resolution: int) -> Image.Image:
        """As `edited`, small and quick, to be looked at while an edit is chosen.

        Args:
            edits: The edits, in order.
            resolution: Height and width in pixels.

        Raises:
            InputError: As `apply_edits`.
        """
        known = self.components.measurements(self.personalization)
        weights, ws, _ = apply_edits(self.components, self.weights, self.pivot, edits, known)
        return render(self.components.generator, weights, ws, resolution, is_draft=True)


def put_back(photograph: Photograph, faces: Sequence[tuple[Portrait, Image.Image]]) -> Image.Image:
    """The whole photograph, changed only where an edit changed a face; what lies before a face stays as it is.

    Args:
        photograph: The photograph.
        faces: Its faces, each with what `Portrait.edited` gave. Where squares overlap, the smaller face, which is
            farther away, is put back first.
    """
    picture = photograph.picture
    for portrait, edited in sorted(faces, key=lambda face: face[0].placement.side):
        if edited is not portrait.reconstruction:
            quad, r = portrait.placement.quad, portrait.reconstruction
            picture = Compositor(picture, quad, r, portrait.occluded)(edited)
    return photograph.with_edit(picture)


def render_identities(
    components: Components, identity: Personalization | str, edit: EditInput | None
) -> list[Image.Image]:
    """One picture per pivot; see `PTIPipeline.edit`."""
    edits = components.parse(edit, [identity] if isinstance(identity, Personalization) else [])
    person = require_identities(components, identity)
    return [Portrait(components, person.personalization, name).edited(edits)[0] for name in person.names]


def walk(
    components: Components, identity: Personalization | str, direction: EditInput, strengths: Sequence[float]
) -> list[Image.Image]:
    """Pictures at several strengths of an edit, each a factor on its own; see `PTIPipeline.walk`."""
    edits = components.parse(direction, [identity] if isinstance(identity, Personalization) else [])
    person = require_identities(components, identity)
    edit = edits[0] if len(edits) == 1 else None
    if len(person.names) != 1 or edit is None or isinstance(edit, YawEdit):
        raise InputError(f"{', '.join(person.names)} along {direction!r}; expected one identity and one direction")
    portrait = Portrait(components, person.personalization, person.names[0])
    steps = [dataclasses.replace(edit, strength=edit.strength * strength) for strength in strengths]
    return [portrait.edited([step])[0] for step in steps]
