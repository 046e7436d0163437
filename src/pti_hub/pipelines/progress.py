"""Progress bars and the user's callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from tqdm.auto import tqdm

from pti_hub.optim import StepCallback, process_state

StepEndCallback = Callable[[int, dict[str, Any]], None]
"""Called with the number of the step and `{"stage": …, "lpips": …}`, numbers on the CPU.

The stage `"drag"` gives `"distance"` in place of `"lpips"`. It, `"project"` and `"tune"` add `"picture"`: what the
generator painted in this step, `[1, 3, r, r]` in about [-1, 1], float32 or bfloat16, on its device. There r can be less
than the generator's resolution. A step on several photographs has the last one's.
"""


class Progress:
    """Reports the stages of a job, whose steps are numbered throughout.

    Args:
        bar: Arguments of tqdm's bars.
        callback: Called after each step.
    """

    def __init__(self, bar: Mapping[str, Any], callback: StepEndCallback | None) -> None:
        self._bar, self._callback = dict(bar), callback

    @contextmanager
    def stage(self, name: str, total: int, first_step: int = 0, shown: str = "lpips") -> Iterator[StepCallback]:
        """A bar for one stage.

        Args:
            name: `"project"`, `"tune"`, `"learn"` or `"drag"`.
            total: Number of the stage's steps.
            first_step: Number of the stage's first step in the whole job.
            shown: Name of the metric that the bar shows.

        Yields:
            What the stage's loop is to call after each step.
        """
        config = {"desc": name, "disable": not process_state().is_local_main_process, **self._bar}
        with tqdm(total=total, **config) as bar:

            def on_step(step: int, metrics: dict[str, Tensor]) -> None:
                # Steps may have been taken before a kill, or by other processes.
                bar.update(step + 1 - bar.n)
                # Reading a value waits for the device: seldom for the bar, at every step for a callback.
                if not bar.disable and step % 10 == 0:
                    bar.set_postfix({shown: f"{metrics[shown].item():.3f}"}, refresh=False)
                if self._callback is not None:
                    values = {key: value.item() if value.ndim == 0 else value for key, value in metrics.items()}
                    self._callback(first_step + step, {"stage": name, **values})

            yield on_step
