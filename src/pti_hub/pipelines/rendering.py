"""Tuned weights and latents → pictures."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from pti_hub.edits import AnyEdit, AppliedEdit, Direction, Edit, MeasuredEdit, StyleEdit, YawEdit
from pti_hub.errors import FaceError
from pti_hub.faces import MEASURES, Measure
from pti_hub.generators import Generator, broadcast_ws, tuned_synthesis
from pti_hub.images import to_pil
from pti_hub.logging import get_logger
from pti_hub.optim import mixed_precision, reused_memory
from pti_hub.pipelines.components import Components, Measurements
from pti_hub.storage import tensor_digest


@torch.no_grad()
def render(
    generator: Generator,
    weights: Mapping[str, Tensor],
    ws: Tensor,
    resolution: int | None = None,
    is_draft: bool = False,
) -> Image.Image:
    """The picture G(ws; θ*).

    Args:
        generator: G.
        weights: θ* by parameter name; weights that are not named are the generator's own.
        ws: `[1, w_dim]` or `[1, num_ws, w_dim]`.
        resolution: Height and width in pixels, where less than the full size is enough.
        is_draft: Whether to compute in bfloat16 where the device can: in less time, with rounding errors of half a grey
            level on average.
    """
    size = None if resolution is None else min(resolution, generator.resolution)
    with reused_memory(), mixed_precision(ws.device, is_draft):
        return to_pil(tuned_synthesis(generator, weights, broadcast_ws(generator, ws), resolution=size))[0]


def apply_edits(
    components: Components, weights: Mapping[str, Tensor], pivot: Tensor, edits: Sequence[AnyEdit], known: Measurements
) -> tuple[Mapping[str, Tensor], Tensor, list[AppliedEdit]]:
    """Weights and pivot after a sequence of edits.

    Args:
        components: The pipeline.
        weights: θ* by parameter name.
        pivot: w_p, `[1, w_dim]` or `[1, num_ws, w_dim]`.
        edits: The edits, in order.
        known: What was measured of pictures of these weights; more is added.

    Returns:
        The weights, in which edits of styles have changed biases; the latent `[1, num_ws, w_dim]`; and the edits with
        the strengths that were found by measuring.

    Raises:
        InputError: No strength turns the head so far, or an edit of a style was made for another generator.
        FaceError: No face is left to measure the turn of.
    """
    ws = broadcast_ws(components.generator, pivot)
    applied: list[AppliedEdit] = []
    for edit in edits:
        if isinstance(edit, YawEdit):
            edit = edit.resolve(functools.partial(measure, components, weights, ws, edit.direction, MEASURES["yaw"]))
        elif isinstance(edit, MeasuredEdit):
            styles = [(style.bias, style.channel, style.strength) for style in applied if isinstance(style, StyleEdit)]
            start = known.setdefault((edit.direction, f"{tensor_digest(ws)} {styles}"), {})
            edit = _resolve(components, weights, ws, edit, start)
        if isinstance(edit, StyleEdit):
            weights = edit.apply(components.generator, weights)
        else:
            ws = edit.apply(ws)
        applied.append(edit)
    return weights, ws, applied


def _resolve(
    components: Components, weights: Mapping[str, Tensor], ws: Tensor, edit: MeasuredEdit, known: dict[float, float]
) -> Edit:
    look = functools.partial(measure, components, weights, ws, edit.direction, edit.measure)
    try:
        return edit.resolve(look, known)
    except FaceError as error:
        get_logger(__name__).warning(f"{error}, so it takes its plain vector")
        return edit.plain


def measure(
    components: Components,
    weights: Mapping[str, Tensor],
    ws: Tensor,
    direction: Direction,
    what: Measure,
    strength: float,
) -> float:
    """A number of the picture at a strength of a direction.

    Raises:
        FaceError: There is no face in that picture.
    """
    try:
        picture = render(components.generator, weights, direction.apply(ws, strength), what.resolution)
        return what.of(picture, components.perceptual)
    except FaceError as error:
        message = f"no face is left to measure at strength {strength:g} of {direction.name!r}; turn it less"
        raise FaceError(message) from error
