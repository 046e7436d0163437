"""Drag: points of a picture go where they are wanted, along the most natural change of its latent.

The task is DragGAN's (Pan et al. 2023): handles p_i of a picture are to come to targets t_i, and the generator's
features tell where the handles are. DragGAN moves features by a pixel a step, with Adam in W+. Here a step solves for
the whole way: the features also tell how each handle answers to each direction of latent space, J = ∂p/∂w, and of all
changes d of the latent that bring the handles to their targets the likeliest is taken,

    min dᵀ M⁻¹ d + ‖p + J Δd - t‖² / ρ²,    d = M Jᵀ (J M Jᵀ + ρ²)⁻¹ (t - p + J d₀)

which is an iterated Kalman filter with the prior d ~ N(0, M). M is the covariance of W, less of what changes the
picture most, and less of what changes it outside the mask. ρ, the error that is allowed, shrinks until the handles have
arrived. A drag takes 2 to 20 such steps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pti_hub.edits.direction import Direction
from pti_hub.edits.ganspace import GANSpace
from pti_hub.edits.tracking import PointTracker
from pti_hub.errors import InputError
from pti_hub.generators import Generator, broadcast_ws, tuned_features
from pti_hub.optim import GradientPreconditioner, StepCallback, check_hyper_parameters, mixed_precision, reused_memory

Point = tuple[float, float]

MOST_HANDLES = 100
"""Each handle costs two passes back through the generator per step."""

_REFERENCE = 256
"""Height and width of the picture in whose pixels distances are given."""

# Features that are tracked: at most of these resolutions, in pixels.
_FEATURES = (64, 128)
# Number of points outside the mask that are held, and of random combinations of their motions: 32 of these hold less.
_HELD_POINTS, _HELD = 400, 64
# What a held combination may still change, as a share of what it would change.
_SLACK = 0.1
# Steps without any gain after which a face goes no further; it takes four until the least error is allowed.
_PATIENCE = 6
# Share of the distance that is left after a step, above which the step was too slow.
_TOO_SLOW = 0.9


@dataclass(frozen=True)
class DragConfig:
    """Hyper-parameters. Lengths are in pixels of a picture at 256², whatever the generator's size.

    Attributes:
        num_steps: Most steps.
        arrival: Distance at which a handle has arrived.
        step_length: Most that a handle is to move per step.
        search_radius: How far from where it is expected a handle is sought.
        latent_step: Most that the latent moves per step, in units of `w_std`.
        longest: Most that the latent moves on the whole, in units of `w_std`. Farther off, tuned faces fall apart.
        error: ρ, the error that is allowed at first.
        least_error: What ρ shrinks to, by halves, whenever the handles come no nearer.
        naturalness: How much a change of the picture counts beside a change of the latent, where there is a
            preconditioner to tell.
        shaping: Share of the generator's layers that move, from the coarsest. With twice as many, light and colours
            change as well.
    """

    num_steps: int = 20
    arrival: float = 1.5
    step_length: float = 6.0
    search_radius: float = 14.0
    latent_step: float = 0.15
    longest: float = 0.5
    error: float = 2.0
    least_error: float = 0.2
    naturalness: float = 30.0
    shaping: float = 1 / 3

    def __post_init__(self) -> None:
        positive = ("num_steps", "arrival", "step_length", "search_radius", "latent_step", "longest", "error")
        check_hyper_parameters(self, (*positive, "least_error", "shaping"))
        if self.shaping > 1:
            raise InputError(f"DragConfig: shaping={self.shaping!r}; expected a share of the layers, at most 1")
        if self.least_error > self.error:
            raise InputError(f"DragConfig: least_error={self.least_error!r}; expected at most error={self.error!r}")


@dataclass(frozen=True, eq=False)
class Drag:
    """What came of a drag.

    Attributes:
        direction: The offset of the latent, in W+; strength 1 is the whole of it.
        points: Where the handles are now, in pixels of the picture.
        distances: How far they are from their targets, in pixels of a picture at 256².
        arrived: Whether each has arrived.
        num_steps: Number of steps that were taken; the offset may be that of an earlier one.
    """

    direction: Direction
    points: list[Point]
    distances: list[float]
    arrived: list[bool]
    num_steps: int


def drag(
    name: str,
    generator: Generator,
    weights: Mapping[str, Tensor],
    ws: Tensor,
    moves: Sequence[tuple[Point, Point]],
    space: GANSpace,
    *,
    mask: Tensor | None = None,
    preconditioner: GradientPreconditioner | None = None,
    config: DragConfig | None = None,
    on_step: StepCallback | None = None,
) -> Drag:
    """Find the change of a latent that brings points of its picture to where they are wanted; nothing is random.

    Args:
        name: Name of the direction.
        generator: G.
        weights: θ* by parameter name; weights that are not named are the generator's own.
        ws: The latent, `[1, w_dim]` or `[1, num_ws, w_dim]`.
        moves: Handles and their targets, x and y in pixels of the picture. A handle on its target is held there.
        space: The principal components of the generator's W.
        mask: `[R, R]`, true where the picture may change; everywhere by default.
        preconditioner: How sensitive pictures are to w, such as the generator's encoder has.
        config: Hyper-parameters.
        on_step: Called after each step with `"distance"`, the largest distance that is left, in pixels at 256², and
            `"ws"`, the latent so far.

    Returns:
        The offset that came nearest.

    Raises:
        InputError: A point lies outside the picture or the mask, no handle has anywhere to go, two handles contradict
            each other, there are none or too many, or the mask has another shape or forbids everything.
    """
    cfg = config or DragConfig()
    Direction(name, generator.w_avg)
    check_moves(moves, generator.resolution, mask)
    if len(ws) != 1 or not ws.isfinite().all():
        raise InputError(f"a latent of shape {list(ws.shape)}; expected one of finite numbers, [1, ...]")
    # Callers may have switched gradients off.
    with reused_memory(), torch.inference_mode(False), torch.enable_grad():
        weights = {name: weight.clone() if weight.is_inference() else weight for name, weight in weights.items()}
        search = _Search(generator, weights, ws, moves, cfg)
        search.metric = latent_metric(space, preconditioner, cfg.naturalness).to(search.start)
        if mask is not None:
            search.hold(mask)
        best = search.state
        without_gain = 0
        while (
            search.num_steps < cfg.num_steps
            and without_gain < _PATIENCE
            and cfg.arrival < best.farthest
            and search.state.farthest < math.inf
        ):
            search.step()
            without_gain += 1
            if search.state.farthest < best.farthest:
                best, without_gain = search.state, 0
            if on_step is not None:
                metrics = {"distance": torch.tensor(search.state.farthest), "ws": search.latent(search.state.offset)}
                on_step(search.num_steps - 1, metrics)
    words = f"{len(moves)} points dragged in {search.num_steps} steps"
    direction = Direction(name, (search.layers * best.offset).cpu(), words)
    x, y = search.in_picture(best.points).unbind(1)
    points = list(zip(x.tolist(), y.tolist(), strict=True))
    arrived = [distance <= cfg.arrival for distance in best.distances]
    return Drag(direction, points, best.distances, arrived, search.num_steps)


def check_moves(moves: Sequence[tuple[Point, Point]], resolution: int, mask: Tensor | None = None) -> None:
    """Make sure that handles can be dragged; arguments and errors as in `drag`."""
    if not 0 < len(moves) <= MOST_HANDLES:
        raise InputError(f"{len(moves)} points to drag; expected 1 to {MOST_HANDLES}")
    for point in (point for move in moves for point in move):
        if not all(-0.5 <= number <= resolution - 0.5 for number in point):
            raise InputError(
                f"point ({point[0]:g}, {point[1]:g}) lies outside the face's square of {resolution}×{resolution} px"
            )
    targets: dict[Point, Point] = {}
    for handle, target in moves:
        if math.dist(targets.setdefault((handle[0], handle[1]), target), target) > 0:
            raise InputError(f"point ({handle[0]:g}, {handle[1]:g}) is dragged to two places; give it one target")
    if all(math.dist(handle, target) == 0 for handle, target in moves):
        raise InputError("every point lies on its target; move one of them")
    if mask is None:
        return
    if tuple(mask.shape) != (resolution, resolution) or not mask.any():
        given = f"of shape {list(mask.shape)}" if mask.any() else "that lets nothing change"
        raise InputError(f"a mask {given}; expected {resolution}×{resolution} px, true where the face may change")
    for (x, y), target in moves:
        last = resolution - 1
        if (x, y) != target and not mask[min(round(y), last), min(round(x), last)]:
            raise InputError(f"point ({x:g}, {y:g}) lies outside the mask, where nothing may move")


_NUMBER = r"\s*(-?\d{1,5}(?:\.\d{1,3})?)\s*"
_MOVE = re.compile(f"{_NUMBER},{_NUMBER}>{_NUMBER},{_NUMBER}")


def parse_moves(text: str) -> list[tuple[Point, Point]]:
    """Read handles and targets as a user types them: `"412,640>430,600; 500,640>490,600"`.

    Args:
        text: Pairs, x and y in pixels; between two pairs is a `;`.

    Raises:
        InputError: It is written otherwise.
    """
    moves = []
    for part in text.strip().strip(";").split(";"):
        if (match := _MOVE.fullmatch(part)) is None:
            raise InputError(f"points {part.strip()!r:.60}; expected X,Y>X,Y, from where and to where: 412,640>430,600")
        hx, hy, tx, ty = map(float, match.groups())
        moves.append(((hx, hy), (tx, ty)))
    return moves


def latent_metric(space: GANSpace, preconditioner: GradientPreconditioner | None, naturalness: float) -> Tensor:
    """M `[w_dim, w_dim]`, the covariance of changes of a latent that are to be expected.

    It is that of W, (Σ⁻¹ + λF)⁻¹ where there is a preconditioner F: what changes the picture more is less likely.

    Args:
        space: The principal components of W.
        preconditioner: F.
        naturalness: The mean of λF over W, in units of Σ⁻¹.
    """
    root = space.components.T * space.deviations  # [w_dim, w_dim], Σ = root rootᵀ
    if preconditioner is None or not naturalness:
        return root @ root.T
    seen = root.T @ preconditioner.axes.T.to(root) * preconditioner.sensitivity.to(root).sqrt()
    seen = seen @ seen.T
    held_back = torch.eye(len(root)) + naturalness * len(root) / seen.trace() * seen
    metric = root @ torch.linalg.solve(held_back, root.T)
    # As long on the whole as the latents of W, so that the other weights mean the same.
    return metric * (space.deviations.square().sum() / metric.trace())


@dataclass(frozen=True, eq=False)
class _State:
    """Where a drag stands.

    Attributes:
        offset: d `[w_dim]`.
        points: p `[N, 2]`, in pixels of the largest feature map.
        distances: From the targets, in pixels at 256².
    """

    offset: Tensor
    points: Tensor
    distances: list[float]

    @property
    def farthest(self) -> float:
        return math.inf if any(math.isnan(distance) for distance in self.distances) else max(self.distances)


class _Search:
    """The loop's variables; `metric` has to be set before the first step."""

    metric: Tensor

    def __init__(
        self,
        generator: Generator,
        weights: Mapping[str, Tensor],
        ws: Tensor,
        moves: Sequence[tuple[Point, Point]],
        config: DragConfig,
    ) -> None:
        self._generator, self._weights, self._config = generator, weights, config
        self.start = broadcast_ws(generator, ws.detach().float().clone())  # [1, num_ws, w_dim]
        self._sizes = [min(size, generator.resolution * size // _REFERENCE) for size in _FEATURES]
        self._unit = self._sizes[-1] / _REFERENCE
        self._scale = self._sizes[-1] / generator.resolution
        handles, self._targets = (self._on_map(torch.tensor([move[i] for move in moves])) for i in range(2))
        # Only the layers that shape take part: the finer ones paint light, colours and texture.
        self.layers = torch.zeros_like(self.start[0, :, :1])  # [num_ws, 1]
        self.layers[: math.ceil(config.shaping * generator.num_ws)] = 1
        with torch.no_grad():
            self._maps = self._features(self.start)
        if not all(features.isfinite().all() for features in self._maps):
            raise InputError("the generator paints NaN or infinity at this latent, where nothing can be dragged")
        self._tracker = PointTracker(self._maps, handles)
        self._error = config.error * self._unit
        self.num_steps = 0
        self.state = self._state(torch.zeros_like(self.start[0, 0]), handles)

    def latent(self, offset: Tensor) -> Tensor:
        """The latent `[1, num_ws, w_dim]` with an offset `[w_dim]`."""
        return self.start + self.layers * offset

    def in_picture(self, points: Tensor) -> Tensor:
        """Points of the feature map in pixels of the picture."""
        return (points + 0.5) / self._scale - 0.5

    def step(self) -> None:
        """Bring the handles nearer, see the module."""
        cfg, now = self._config, self.state
        # 1. J [2N, w_dim]: how each handle answers to the latent.
        jacobian = self._jacobian(now)
        # 2. The likeliest offset that brings them as far as a step may.
        way = _shortened(self._targets - now.points, cfg.step_length * self._unit).flatten()
        answers = jacobian @ self.metric @ jacobian.T
        answers += self._error**2 * torch.eye(len(answers), device=answers.device)
        wanted = self.metric @ (jacobian.T @ torch.linalg.solve(answers, way + jacobian @ now.offset))
        w_std = float(self._generator.w_std)
        change = _shortened(wanted - now.offset, cfg.latent_step * w_std)
        change = _shortened(now.offset + change, cfg.longest * w_std) - now.offset
        # 3. Where the handles really are then.
        guesses = now.points + (jacobian @ change).reshape(-1, 2)
        offset = now.offset + change
        with torch.no_grad():
            maps = self._features(self.latent(offset))
        points = self._tracker.find(maps, guesses, max(1, round(cfg.search_radius * self._unit)))
        self.state, self.num_steps = self._state(offset, points), self.num_steps + 1
        if self.state.farthest > _TOO_SLOW * now.farthest:
            self._error = max(self._error / 2, cfg.least_error * self._unit)

    def hold(self, mask: Tensor) -> None:
        """Make changes of the latent less likely that move what lies outside the mask `[R, R]`.

        Points there are many more than the latent has dimensions. Random combinations of their motions answer most to
        what moves most of them.
        """
        free = F.adaptive_max_pool2d(mask[None, None].to(self.start), self._sizes[-1])[0, 0]
        y, x = torch.nonzero(free == 0, as_tuple=True)
        if not len(x):
            return
        random = torch.Generator().manual_seed(0)
        some = torch.randperm(len(x), generator=random)[:_HELD_POINTS].to(x.device)
        points = torch.stack([x[some], y[some]], 1).to(self.start)
        offset = torch.zeros_like(self.start[0, 0]).requires_grad_()
        motion = PointTracker(self._maps, points).motion(self._features(self.latent(offset)), points)
        rows: list[Tensor] = []
        for i in range(_HELD):
            shares = torch.randn(motion.shape, generator=random).to(motion)
            rows += torch.autograd.grad(motion, [offset], shares, retain_graph=i < _HELD - 1)
        held = torch.stack(rows)  # [_HELD, w_dim]
        answers = held @ self.metric @ held.T
        answers += _SLACK**2 * answers.diagonal().mean() * torch.eye(len(answers), device=answers.device)
        self.metric = self.metric - self.metric @ held.T @ torch.linalg.solve(answers, held @ self.metric)

    def _jacobian(self, now: _State) -> Tensor:
        offset = now.offset.clone().requires_grad_()
        # The smallest map alone predicts as well, in half the time.
        motion = self._tracker.motion(self._features(self.latent(offset), 1), now.points).flatten()
        rows = [
            torch.autograd.grad(number, [offset], retain_graph=i < len(motion) - 1)[0]
            for i, number in enumerate(motion)
        ]
        return torch.stack(rows)

    def _features(self, ws: Tensor, count: int = len(_FEATURES)) -> list[Tensor]:
        with mixed_precision(ws.device):
            return tuned_features(self._generator, self._weights, ws, self._sizes[:count])

    def _state(self, offset: Tensor, points: Tensor) -> _State:
        return _State(offset, points, ((self._targets - points).norm(dim=1) / self._unit).tolist())

    def _on_map(self, points: Tensor) -> Tensor:
        return ((points + 0.5) * self._scale - 0.5).to(self.start)


def _shortened(vectors: Tensor, limit: float) -> Tensor:
    """Vectors `[..., D]`, none of them longer than the limit."""
    return vectors * (limit / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)).clamp_max(1)
