"""Points of a face dragged to where they are wanted, and the way of the result back into the photograph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from typing_extensions import Unpack

from pti_hub.edits import AnyEdit, AppliedEdit, Direction, Drag, DragConfig, Edit, EditInput, drag
from pti_hub.edits.dragging import check_moves
from pti_hub.errors import InputError
from pti_hub.faces import FaceAnalyzer, Placement, choose, crop_quad
from pti_hub.generators import tuned_synthesis
from pti_hub.images import ImageInput, load_image, read_photograph
from pti_hub.logging import get_logger
from pti_hub.optim import StepCallback, mixed_precision
from pti_hub.personalization import Personalization
from pti_hub.pipelines.components import Components
from pti_hub.pipelines.identities import in_photograph, require_identities
from pti_hub.pipelines.portraits import Portrait, put_back
from pti_hub.pipelines.progress import Progress, StepEndCallback
from pti_hub.pipelines.rendering import apply_edits

Move = tuple[tuple[float, float], tuple[float, float]]

_WATCHED = 256
"""Height and width of the picture that a callback gets."""

_EDGE = 0.02
"""Share of the face's side over which a change fades out inside a mask."""


class DragOptions(TypedDict, total=False):
    """Options of a drag.

    Attributes:
        photograph: The photograph that the identity was tuned on: the points lie in it, and the result is put into it.
        mask: Picture of the size of what the points lie in, white where it may change, or a boolean array `[H, W]`.
            Outside it the pictures stay as they are, bit for bit; the direction alone only tends to.
        edit: Edits that the face has before it is dragged, as in `PTIPipeline.__call__`.
        name: Name of the direction; `"drag"` by default.
        steps: Most steps; 20 by default.
        callback_on_step_end: Called with the number of the step and `{"stage": "drag", "distance": …, "picture": …}`,
            the largest distance that is left, in pixels of the face at 256², and the picture so far; see
            `StepEndCallback`.
    """

    photograph: ImageInput | None
    mask: ImageInput | None
    edit: EditInput | None
    name: str
    steps: int
    callback_on_step_end: StepEndCallback | None


@dataclass(frozen=True)
class DragOutput:
    """What a drag gives.

    Attributes:
        image: The dragged face, at the generator's resolution: G(w_p + a·d; θ*) of the edits before and of the drag;
            outside the mask it is the face before the drag.
        photograph: The whole photograph, changed only where the face changed; `None` if no photograph was given.
        direction: The offset d of the latent as a direction: strength 1 is the whole of it.
        points: Where the handles are now, in the pixels that they were given in.
        distances: How far each is from its target, in pixels of the face at 256².
        arrived: Whether each has arrived.
    """

    image: Image.Image
    photograph: Image.Image | None
    direction: Direction
    points: list[tuple[float, float]]
    distances: list[float]
    arrived: list[bool]


def drag_identity(
    components: Components,
    identity: Personalization | str,
    moves: Sequence[Move],
    **options: Unpack[DragOptions],
) -> DragOutput:
    """Drag points of an identity's face; see `PTIPipeline.drag`."""
    edit, mask, photograph = options.get("edit"), options.get("mask"), options.get("photograph")
    edits = components.parse(edit, [identity] if isinstance(identity, Personalization) else [])
    person, home = require_identities(components, identity), None
    if photograph is not None:
        home = read_photograph(photograph)
        person = in_photograph(person, home)
    if len(person.names) != 1:
        raise InputError(f"{', '.join(person.names)} to be dragged; expected one identity with one photograph")
    portrait = Portrait(components, person.personalization, person.names[0])
    size = components.generator.resolution
    to_outside = np.eye(2, 3) if home is None else portrait.placement.to_photograph(size)
    on_face = _on_face(moves, to_outside, size)
    free = None if mask is None else _free(mask, (size, size) if home is None else home.picture.size)
    free_face = None if free is None else _warped(free, cv2.invertAffineTransform(to_outside), size)
    on_mask = None if free_face is None else torch.from_numpy(free_face > 0)
    if on_mask is not None and not on_mask.any():
        raise InputError("the mask is black all over the face, so nothing of it may change; paint white what may")
    check_moves(on_face, size, on_mask)
    config = DragConfig(num_steps=options["steps"]) if "steps" in options else DragConfig()
    found, applied = drag_portrait(
        portrait, edits, on_face, options.get("name", "drag"), on_mask, config, options.get("callback_on_step_end")
    )
    _say_who_stays(moves, found)
    image = portrait.edited([*applied, Edit(found.direction)])[0]
    whole = None if home is None else put_back(home, [(portrait, image)])
    if free is not None and free_face is not None:
        before = portrait.edited(applied)[0]
        if home is not None and whole is not None:
            whole = _within(free, put_back(home, [(portrait, before)]), whole, portrait.placement.side)
        image = _within((free_face == 255).astype(np.uint8), before, image, size)
    points = (np.column_stack([found.points, np.ones(len(found.points))]) @ to_outside.T).tolist()
    return DragOutput(image, whole, found.direction, [(x, y) for x, y in points], found.distances, found.arrived)


def drag_portrait(
    portrait: Portrait,
    edits: Sequence[AnyEdit],
    moves: Sequence[Move],
    name: str = "drag",
    mask: Tensor | None = None,
    config: DragConfig | None = None,
    callback_on_step_end: StepEndCallback | None = None,
) -> tuple[Drag, list[AppliedEdit]]:
    """Drag points of an opened identity.

    Args:
        portrait: The identity.
        edits: Edits that the face has before it is dragged.
        moves: Handles and targets in pixels of the face.
        name: Name of the direction.
        mask: `[R, R]`, true where the face may change.
        config: Hyper-parameters.
        callback_on_step_end: As in `DragOptions`.

    Returns:
        What was found, and the edits with the strengths that were found by measuring.

    Raises:
        InputError: As `pti_hub.edits.drag`.
    """
    components, cfg = portrait.components, config or DragConfig()
    known = components.measurements(portrait.personalization)
    weights, ws, applied = apply_edits(components, portrait.weights, portrait.pivot, edits, known)
    progress = Progress(components.progress_bar_config, callback_on_step_end)
    with progress.stage("drag", cfg.num_steps, shown="distance") as report:
        found = drag(
            name,
            components.generator,
            weights,
            ws,
            moves,
            components.principal_components,
            mask=mask,
            preconditioner=getattr(components.encoder, "preconditioner", None),
            config=cfg,
            on_step=_watched(components, weights, report, callback_on_step_end is not None),
        )
    return found, applied


def _on_face(moves: Sequence[Move], to_outside: NDArray[Any], size: int) -> list[Move]:
    """Handles and targets in the pixels of the face."""
    try:
        given = np.asarray(moves, np.float64)
    except (TypeError, ValueError):
        given = np.empty(0)
    if given.ndim != 3 or given.shape[1:] != (2, 2):
        raise InputError(f"moves={moves!r:.100}; expected pairs of points, ((x, y), (x, y)): from where, to where")
    inside = (given - to_outside[:, 2]) @ np.linalg.inv(to_outside[:, :2]).T
    outside = ~((inside >= -0.5) & (inside <= size - 0.5)).all(2)
    if outside.any():
        x, y = given[outside][0]
        raise InputError(
            f"the point ({x:g}, {y:g}) lies outside the face's square, in which alone there is a face to drag"
        )
    return [((hx, hy), (tx, ty)) for (hx, hy), (tx, ty) in inside.tolist()]


def check_drag(
    components: Components, picture: Image.Image, moves: Sequence[Move], mask: ImageInput | None, face: int | None
) -> int:
    """Make sure that a drag is possible before the face is learned, which takes long.

    Args:
        components: The pipeline.
        picture: The photograph.
        moves: Handles and targets in pixels of the photograph.
        mask: As in `DragOptions`.
        face: Number of the face; by default the one nearest to the handles.

    Returns:
        The number of the face.

    Raises:
        FaceError: There is no face.
        InputError: A point lies beside the face's square, points contradict each other, or the mask does not fit.
    """
    if mask is not None:
        _free(mask, picture.size)
    width, height = picture.size
    if components.aligns_faces:
        faces = FaceAnalyzer().detect(picture)
        middle = np.mean([handle for handle, _ in moves], 0)
        distances = [float(np.linalg.norm(found.landmarks.mean(0) - middle)) for found in faces]
        (face,) = choose(faces, int(np.argmin(distances)) if face is None and faces else face or 0)
        corners = crop_quad(faces[face].landmarks)
    else:
        corners = np.array([[0, 0], [0, height], [width, height], [width, 0]]) - 0.5
    quad = tuple((float(x), float(y)) for x, y in corners)
    size = components.generator.resolution
    check_moves(_on_face(moves, Placement(quad, picture.size, "").to_photograph(size), size), size)
    return face or 0


def _free(mask: ImageInput, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Where the picture may change, 255 or 0 `[H, W]`."""
    if isinstance(mask, Tensor) and mask.ndim == 2:
        mask = mask.detach().cpu().numpy()
    if isinstance(mask, np.ndarray) and mask.ndim == 2 and mask.dtype == bool:
        mask = Image.fromarray(mask.astype(np.uint8) * 255)
    picture = load_image(mask).convert("L")
    if picture.size != size:
        raise InputError(
            f"a mask of {picture.width}×{picture.height} px; expected {size[0]}×{size[1]} px like the picture that the "
            "points lie in, white where it may change"
        )
    free = (np.asarray(picture) > 127).astype(np.uint8) * 255
    if not free.any():
        raise InputError("the mask is black everywhere, so nothing may change; paint white what may")
    return free


def _warped(picture: NDArray[Any], linear: NDArray[Any], size: int) -> NDArray[Any]:
    return cv2.warpAffine(picture, linear, (size, size), flags=cv2.INTER_LINEAR)


def _within(free: NDArray[np.uint8], before: Image.Image, after: Image.Image, side: float) -> Image.Image:
    """The picture after, where it may change, and the one before elsewhere, bit for bit; `side` is the face's."""
    inside = cv2.distanceTransform(cv2.copyMakeBorder(free, 1, 1, 1, 1, cv2.BORDER_REPLICATE), cv2.DIST_L2, 5)[
        1:-1, 1:-1
    ]
    # The middle of a small mask changes fully, too.
    share = np.clip(inside / max(1.0, min(_EDGE * side, float(inside.max()) / 2)), 0, 1)
    return Image.composite(after, before, Image.fromarray(np.floor(255 * share).astype(np.uint8)))


def _watched(
    components: Components, weights: Mapping[str, Tensor], report: StepCallback, is_watched: bool
) -> StepCallback:
    """Reports a drag's steps, with their pictures if somebody looks at them."""

    @torch.no_grad()
    def on_step(step: int, metrics: dict[str, Tensor]) -> None:
        ws = metrics.pop("ws")
        if is_watched:
            size = min(_WATCHED, components.generator.resolution)
            with mixed_precision(ws.device):
                metrics["picture"] = tuned_synthesis(components.generator, weights, ws, resolution=size)
        report(step, metrics)

    return on_step


def _say_who_stays(moves: Sequence[Move], found: Drag) -> None:
    for ((x, y), _), left, arrived in zip(moves, found.distances, found.arrived, strict=True):
        if not arrived:
            get_logger(__name__).warning(
                f"the point ({x:g}, {y:g}) is {left:.1f} px from its target, in pixels of the face at 256²; "
                f"in {found.num_steps} steps this face went no further",
                extra={"plain": "a point has not arrived"},
            )
