"""Pivotal tuning: weights near the generator's with which pivots give their photographs (Eq. 2, 3, 7)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pti_hub.errors import InputError
from pti_hub.faces import Likeness
from pti_hub.generators import Generator, broadcast_ws, tuned_synthesis
from pti_hub.optim import LoopCheckpoint, StepCallback, check_target, reused_memory
from pti_hub.perceptual import LPIPS
from pti_hub.personalization import add_deltas
from pti_hub.tuners.config import PivotalTunerConfig
from pti_hub.tuners.loop import TuningLoop
from pti_hub.tuners.reconstruction import face_distance


@dataclass(frozen=True)
class Tuning:
    """What a tuner learned.

    Attributes:
        deltas: θ* − θ by parameter name, of every weight the picture depends on.
        pivots: w_i as they were given, or where they moved to.
        metrics: `"lpips"` and `"mse"` of each G(w_i; θ*), pixel values in [-1, 1]; where the face counts more,
            `"lpips_face"` is its own LPIPS.
        num_steps: Steps taken, counted per photograph.
        stopped: Why tuning ended before its time, where it diverged.
    """

    deltas: dict[str, Tensor]
    pivots: list[Tensor]
    metrics: list[dict[str, float]]
    num_steps: int
    stopped: str | None = None


class PivotalTuner:
    """Tunes a copy of the generator's weights around fixed pivots (Eq. 2, 3), the rest held in place (Eq. 7).

    Args:
        config: Hyper-parameters.
    """

    config_class = PivotalTunerConfig

    def __init__(self, config: PivotalTunerConfig | None = None) -> None:
        self.config = config or PivotalTunerConfig()

    def tune(
        self,
        generator: Generator,
        perceptual: LPIPS,
        pivots: Sequence[Tensor],
        targets: Sequence[Tensor],
        seed: int = 0,
        on_step: StepCallback | None = None,
        checkpoint: LoopCheckpoint | None = None,
        shared: bool = False,
        likenesses: Sequence[Likeness | None] | None = None,
    ) -> Tuning:
        """Learn one θ* for one or many pivots.

        Most rounds take as many steps as there are photographs that are not good enough yet, more often on those that
        are farther. Every `check_interval` rounds one step is taken on the mean over all photographs (Eq. 3); the
        losses of that step, all of the same weights, decide which weights are kept and which photographs are done. A
        loss that is no number, or ten times the best one, ends the loop with a warning and the best weights.

        Args:
            generator: G with weights θ; left as it is.
            perceptual: Distance of Eq. 2.
            pivots: w_i, each `[1, w_dim]` or `[1, num_ws, w_dim]`.
            targets: x_i, each `[1, 3, R, R]` in [-1, 1], R the generator's resolution.
            seed: Seed of the order of photographs and of the codes drawn for the locality regularisation.
            on_step: Called after each step on a photograph with its number and its metrics, as tensors.
            checkpoint: Where the loop's state is kept, and resumed from if there is one; the result is the same, bit
                for bit.
            shared: Whether all processes that accelerate has started make this call, with the same arguments, and
                share out the photographs of each step; gradients are averaged.
            likenesses: The face in each target, `None` where there is none: the loss and the stop look at it.

        Returns:
            The best weights seen at a check, as differences.

        Raises:
            InputError: A target's or pivot's shape is not the generator's, or there are not as many of both.
            WeightsError: The checkpoint is damaged or of another run.
        """
        _check_inputs(generator, pivots, targets)
        faces: Sequence[Likeness | None] = [None] * len(targets)
        # Another network than LPIPS knows no places that count more.
        if likenesses is not None and self.config.weighs_faces and isinstance(perceptual, LPIPS):
            faces = likenesses
        if len(faces) != len(targets):
            raise InputError(f"{len(faces)} likenesses and {len(targets)} targets; give one per target, or None")
        with reused_memory():
            loop = TuningLoop(self.config, generator, perceptual, pivots, targets, faces, seed, on_step, shared)
            loop.run(checkpoint)
        if loop.stopped is not None:
            rate = self.config.learning_rate
            remedy = f"the best weights so far are kept; lower learning_rate={rate:g} for better ones"
            warnings.warn(f"tuning {loop.stopped}; {remedy}", RuntimeWarning, stacklevel=2)
        best, original = loop.state.best, dict(generator.named_parameters())
        deltas = {name: (best[f"theta.{name}"] - original[name]).detach().cpu() for name in loop.theta}
        ws = [best[f"w.{i}"] for i in range(len(targets))]
        metrics = _measure(generator, perceptual, deltas, ws, targets, faces)
        return Tuning(deltas, ws, metrics, loop.updates, loop.stopped)


@torch.no_grad()
def _measure(
    generator: Generator,
    perceptual: LPIPS,
    deltas: dict[str, Tensor],
    ws: Sequence[Tensor],
    targets: Sequence[Tensor],
    faces: Sequence[Likeness | None],
) -> list[dict[str, float]]:
    """Metrics of the pictures as θ + Δ gives them: a saved personalisation will give the same, bit for bit."""
    weights, metrics = add_deltas(generator, deltas), []
    with reused_memory():
        for w, target, face in zip(ws, targets, faces, strict=True):
            picture = tuned_synthesis(generator, weights, w)
            distance, error = perceptual(picture, target).item(), F.mse_loss(picture, target).item()
            metrics.append({"lpips": distance, "mse": error})
            if face is not None:
                metrics[-1]["lpips_face"] = face_distance(perceptual, picture, target, face.importance).item()
    return metrics


def _check_inputs(generator: Generator, pivots: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
    if not targets or len(pivots) != len(targets):
        raise InputError(f"{len(pivots)} pivots and {len(targets)} targets; give one pivot per target")
    for pivot, target in zip(pivots, targets, strict=True):
        check_target(generator, target)
        if len(broadcast_ws(generator, pivot)) != 1:
            raise InputError(f"pivot of shape {list(pivot.shape)}; expected one latent per target, [1, …]")
