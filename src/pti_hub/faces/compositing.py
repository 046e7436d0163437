"""Compositing: transfer an edit of the aligned face to the photograph that the face comes from.

The generator cannot render grain, freckles or the letters on a wall, and it changes more than the edit should. So the
photograph P itself is warped as the edit warps the face. Only the difference in appearance comes from the generator's
pictures, the reconstruction r and the edited picture e:

    result = W + m · (U(e') − U(r')) − k · (W − U(r')),   W(x) = P(x + s·F(x)),   r'(x) = r(x + s·F(x))

F is the optical flow from e to r, and U maps the aligned square to the photograph. s and m fall to 0 towards the
square's border and where the edit changes nothing, so the result equals P there. Since the photograph itself is warped,
hair that crosses the square's border stays in one piece. e' is e, warped back to the positions that a face warped by s
has. k is 1 where no warp of r can explain e, as with teeth that appear: the photograph has no detail to add there.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pti_hub.errors import InputError
from pti_hub.faces.alignment import ellipse

Array = NDArray[Any]

# Height and width, in pixels, at which flow and masks are computed.
_SMALL = 256
# Rows of the photograph that are worked on at once.
_STRIP = 256
# Half axes of the ellipse inside which an edit acts fully, and of the ellipse outside which it does not act, as shares
# of the aligned square's side: FFHQ's alignment puts every face at the same place.
_FULLY, _NOT = (0.40, 0.36), (0.60, 0.50)
# Distances from the square's border, as shares of the side, up to which an edit does not act and from which on it may
# act fully: a turned head reaches nearly to the border, and an ear that moves by less than the face would be stretched.
_BORDER = (0.008, 0.12)
# Share of the full warp from which on the difference in appearance is added completely: half a contour looks like a
# ghost.
_APPEARS = 0.35
# Mean change of a pixel, out of 255, at which a place starts to count as changed, and at which it counts fully.
_CHANGED = (2.0, 7.0)
# The same bounds for the difference in appearance beside the face, where smaller differences are mere side effects of
# the edit on the background.
_BESIDE = (5.0, 14.0)
# Bounds of the difference that warping leaves unexplained, between which the photograph's detail is faded out.
_UNEXPLAINED = (14.0, 36.0)

# Contrast below which a place is plain, in grey levels; the window that it is measured in, and the width over which an
# edit fades out into a plain background, out of 256² places.
_PLAIN, _WINDOW, _FEATHER = 3.0, 7, 8
# Centre and half axes of an ellipse that is face for sure, as shares of the aligned square's side: smooth cheeks are no
# background.
_CENTRE, _AXES = (0.5, 0.56), (0.2, 0.28)


@dataclasses.dataclass(frozen=True)
class Placement:
    """The place of a face in a photograph.

    Attributes:
        quad: Corners of the aligned square: top left, bottom left, bottom right and top right, as x and y in the
            photograph's pixels; whole numbers are pixel centres.
        size: Width and height of the photograph, in pixels.
        digest: Digest of the photograph, to recognise it.
    """

    quad: tuple[tuple[float, float], ...]
    size: tuple[int, int]
    digest: str

    @property
    def side(self) -> float:
        """Length of the square's side, in pixels."""
        return math.dist(self.quad[0], self.quad[1])

    def to_photograph(self, resolution: int) -> Array:
        """The affine map from the pixels of the aligned face of that size to those of the photograph, [2, 3].

        Args:
            resolution: Height and width of the aligned face.
        """
        corners = np.asarray(self.quad, np.float64)
        sides = np.stack([corners[3] - corners[0], corners[1] - corners[0]], 1) / resolution  # [2, 2]
        return np.column_stack([sides, corners[0] + sides.sum(1) / 2])

    def to_json(self) -> dict[str, Any]:
        """The placement as a JSON object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Any) -> Placement:
        """The inverse of `to_json`.

        Args:
            content: What `to_json` gave, or a stranger's JSON.

        Raises:
            ValueError: The corners are not finite, or the size is not a picture's.
        """
        quad = tuple((float(x), float(y)) for x, y in content["quad"])
        width, height = (int(side) for side in content["size"])
        if len(quad) != 4 or not np.isfinite(quad).all() or not 0 < width < 1 << 20 or not 0 < height < 1 << 20:
            raise ValueError(f"a placement of corners {quad} in a picture of {width}×{height}")
        return cls(quad, (width, height), str(content["digest"]))


class Compositor:
    """Puts edits of one face into the photograph; everything that does not depend on the edit is computed once.

    Args:
        photograph: P, mode RGB.
        quad: Corners of the aligned square; see `Placement`.
        reconstruction: r, mode RGB, square.
        occluded: Where something lies before the face, 0 to 1 [S, S], that no edit may change; see `find_occluders`.

    Raises:
        InputError: The square lies outside the photograph.
    """

    def __init__(
        self, photograph: Image.Image, quad: Any, reconstruction: Image.Image, occluded: Array | None = None
    ) -> None:
        self._photograph, corners = np.asarray(photograph), np.asarray(quad, dtype=np.float64)
        low = np.maximum(np.floor(corners.min(0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(corners.max(0)).astype(int) + 2, photograph.size)
        if (high <= low).any():
            raise InputError(
                f"a face at {corners.round().tolist()} lies outside the photograph of "
                f"{photograph.width}×{photograph.height} px"
            )
        self._part = (slice(low[1], high[1]), slice(low[0], high[0]))
        self._crop = np.ascontiguousarray(self._photograph[self._part])
        self._is_grey = bool((self._crop == self._crop[..., :1]).all())
        self._r = np.asarray(reconstruction)
        # Vectors along two sides of the aligned square, and the top left corner, in the crop's pixels.
        self._sides = np.stack([corners[3] - corners[0], corners[1] - corners[0]], 1)  # [2, 2]
        self._corner = corners[0] - low
        self._head = _head(_SMALL) if occluded is None else _head(_SMALL) * (1 - occluded.astype(np.float32))
        centres = np.arange(len(self._r), dtype=np.float32)
        self._grid = np.stack(np.meshgrid(centres, centres), 2)  # [R, R, 2], x and y

    def __call__(self, edited: Image.Image) -> Image.Image:
        """Put one edit into the photograph.

        Args:
            edited: e, mode RGB, of the reconstruction's size.

        Returns:
            A picture of the photograph's size; it equals the photograph, bit for bit, where the edit changes nothing.

        Raises:
            InputError: The edited picture has another size than the reconstruction.
        """
        e, r = np.asarray(edited), self._r
        if e.shape != r.shape:
            raise InputError(f"an edited picture {list(e.shape)} for a reconstruction {list(r.shape)}")
        # 1. Where the edit changes something [S, S], and the flow in shares of the square's side [S, S, 2].
        changed, flow = self._changes(e)
        mask, bent = changed * _ramp(self._head, 0.0, _APPEARS), self._head[..., None] * flow
        # 2. The difference in appearance [R, R, 3] after both faces are warped as far as the photograph will be.
        side = len(r)
        r_bent = self._sample(r, self._grid + side * self._resize(bent, side))
        difference = self._sample(e, self._grid - side * self._resize(flow - bent, side)) - r_bent
        size = self._blur(self._resize(np.abs(difference).mean(2), _SMALL), 0.005 * _SMALL)
        mask *= self._head + (1 - self._head) * _ramp(size, *_BESIDE)
        unexplained = mask * _ramp(size, *_UNEXPLAINED)
        taken, given_up = (self._resize(part, side)[..., None] for part in (mask, unexplained))
        appearance = taken * difference + given_up * r_bent
        # 3. Transfer to the photograph, strip by strip.
        acts = changed * self._head
        guide = np.dstack([bent @ self._sides.T.astype(np.float32), unexplained, acts])
        picture = self._photograph.copy()
        crop = picture[self._part]
        for part in self._strips(acts > 0):
            self._transfer(crop, part, appearance, guide)
        return Image.fromarray(picture)

    def _strips(self, where: Array) -> Iterator[tuple[slice, slice]]:
        """Parts of the crop, of `_STRIP` rows at most, that cover the places [S, S]; whole crops need much memory."""
        rows, columns = (np.flatnonzero(where.any(axis)) for axis in (1, 0))
        if not len(rows):
            return
        # Corners of the rectangle around the places, one place wider, as shares of the square's side.
        y, x = ((places[0] - 1, places[-1] + 2) for places in (rows, columns))
        shares = np.array([(u, v) for u in x for v in y]) / len(where)
        corners = shares @ self._sides.T + self._corner
        left, top = np.maximum(np.floor(corners.min(0)).astype(int), 0)
        right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, self._crop.shape[1::-1])
        for row in range(top, bottom, _STRIP):
            yield slice(row, min(row + _STRIP, bottom)), slice(left, right)

    def _transfer(self, crop: Array, part: tuple[slice, slice], appearance: Array, guide: Array) -> None:
        """Write one part of the result, (1 − k) · W + U(m · (e' − r') + k · r'), into the crop.

        Args:
            crop: The crop to write into.
            part: Rows and columns of the part.
            appearance: m · (e' − r') + k · r', [R, R, 3].
            guide: Displacement in the crop's pixels, k, and where anything changes at all, [S, S, 4].
        """
        placed = self._place(guide, part)
        result = self._bend(placed[..., :2], part)
        cv2.multiply(result, cv2.merge([1 - placed[..., 2]] * 3), dst=result)
        cv2.add(result, self._place(appearance, part), dst=result)
        if self._is_grey:
            result = np.repeat(result.mean(2, keepdims=True), 3, 2)
        np.clip(np.rint(result, out=result), 0, 255, out=result)
        np.copyto(crop[part], result.astype(np.uint8), where=placed[..., 3:] > 0)

    def _background(self, small_e: Array) -> Array:
        """Where there is nothing but a plain background before and after the edit, 0 to 1 [S, S].

        Edits of hair and age also change the background's colour, which shows as a halo around the head. What is plain
        in both pictures and reaches the square's border without crossing a contour is no part of the head.
        """
        contrast = np.maximum(self._contrast_of_r, self._contrast(small_e))
        is_plain = (contrast < _PLAIN) & ~ellipse(_SMALL, _CENTRE, _AXES)
        _, parts = cv2.connectedComponents(is_plain.astype(np.uint8), connectivity=4)
        border = np.unique(np.concatenate([parts[0], parts[:, 0], parts[:, -1]]))
        reached = np.isin(parts, border[border > 0]).astype(np.uint8)
        # Contrast is high as far as half a window away from a contour.
        grown = cv2.dilate(reached, np.ones((_WINDOW, _WINDOW), np.uint8))
        return _ramp(cv2.distanceTransform(grown, cv2.DIST_L2, 5), 0, _FEATHER).astype(np.float32)

    @functools.cached_property
    def _contrast_of_r(self) -> Array:
        return self._contrast(self._small_r)

    def _contrast(self, grey: Array) -> Array:
        """Standard deviation of the grey levels around each place [S, S]."""
        grey = grey.astype(np.float32)
        mean, square = (cv2.blur(part, (_WINDOW, _WINDOW)) for part in (grey, grey * grey))
        return np.sqrt(np.maximum(square - mean * mean, 0))

    def _changes(self, e: Array) -> tuple[Array, Array]:
        """How much each place changed, 0 to 1 [S, S], and the flow from e to r in shares of the side [S, S, 2]."""
        difference, small_e = cv2.absdiff(e, self._r), self._grey(e)
        small = self._blur(self._resize(difference, _SMALL).mean(2, dtype=np.float32), 2.5)
        changed = _ramp(self._blur(cv2.dilate(small, np.ones((9, 9))), 4), *_CHANGED) * (1 - self._background(small_e))
        flow = _flow(small_e, self._small_r) * changed[..., None]
        return changed, self._blur(flow, 2) / _SMALL

    @functools.cached_property
    def _small_r(self) -> Array:
        return self._grey(self._r)

    def _grey(self, picture: Array) -> Array:
        return cv2.cvtColor(self._resize(picture, _SMALL), cv2.COLOR_RGB2GRAY)

    def _resize(self, picture: Array, side: int) -> Array:
        method = cv2.INTER_AREA if side < len(picture) else cv2.INTER_LINEAR
        return cv2.resize(picture, (side, side), interpolation=method)

    def _blur(self, picture: Array, sigma: float) -> Array:
        return cv2.GaussianBlur(picture, (0, 0), sigma)

    def _sample(self, picture: Array, places: Array) -> Array:
        """Sample an aligned picture at the given places [R, R, 2]; float32."""
        x, y = (np.ascontiguousarray(places[..., i], np.float32) for i in (0, 1))
        return cv2.remap(picture.astype(np.float32), x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)

    def _place(self, picture: Array, part: tuple[slice, slice]) -> Array:
        """U: map the aligned square to a part of the crop; 0 outside the square. Filters when shrinking."""
        side = len(picture)
        if (scale := float(np.hypot(*self._sides[:, 0])) / side) < 0.75:
            side = max(1, round(side * scale))
            picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        # Map pixel centres of the square to pixel centres of the part.
        linear, (rows, columns) = self._sides / side, part
        start = self._corner + linear.sum(1) / 2 - (columns.start, rows.start)
        size = (columns.stop - columns.start, rows.stop - rows.start)
        return cv2.warpAffine(picture, np.column_stack([linear, start]), size, flags=cv2.INTER_LINEAR)

    def _bend(self, moved: Array, part: tuple[slice, slice]) -> Array:
        """W: warp a part of the photograph's crop by the displacement `moved` [H, W, 2]; float32."""
        rows, columns = part
        x = moved[..., 0] + np.arange(columns.start, columns.stop, dtype=np.float32)
        y = moved[..., 1] + np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
        bent = cv2.remap(self._crop, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        return bent.astype(np.float32)


def _ramp(values: Array, low: float, high: float) -> Array:
    """0 below the lower bound, 1 above the upper bound, smooth in between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _flow(e: Array, r: Array) -> Array:
    """The optical flow from one grey picture to another `[S, S, 2]`, in pixels."""
    # Made anew: such an object does not bear two threads.
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setVariationalRefinementIterations(10)
    return flow.calc(e, r, None)  # type: ignore[call-overload]


@functools.lru_cache(maxsize=4)
def _head(side: int) -> Array:
    """How strongly an edit acts, 0 to 1 [side, side]: fully on the face, less on hair and neck, not at the border."""
    places = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    inner, outer = (np.hypot(places / x, places[:, None] / y) for x, y in (_FULLY, _NOT))
    # Position between the outer ellipse (0) and the inner one (1).
    acts = _ramp((1 - outer) / np.maximum(inner - outer, 1e-6), 0, 1)
    inwards = _ramp(0.5 - np.abs(places), *_BORDER)
    return (acts * inwards * inwards[:, None]).astype(np.float32)
