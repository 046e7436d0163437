"""Long work that survives a kill: a folder that holds what is known so far and what it was asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pti_hub.checkpoints.hub import read_json
from pti_hub.errors import InputError
from pti_hub.files import check_replaceable, saving
from pti_hub.loops import LoopState
from pti_hub.tuners import Personalization

CONFIG_NAME = "run.json"


class RunFolder:
    """One personalisation on its way: the states of its loops, the pivots found, at last the result.

    Photographs are not kept, only a digest by which they are known again.

    Args:
        folder: The folder; made where it is not there.
        configuration: All that the result depends on, of JSON's types.
        writes: Whether this process is the one that writes.

    Raises:
        InputError: The folder is that of a run with another configuration, or holds something else.
        SaveError: The place is not writable.
    """

    def __init__(self, folder: str | Path, configuration: Mapping[str, Any], writes: bool = True) -> None:
        self.folder, self.writes = Path(folder), writes
        marker = self.folder / CONFIG_NAME
        partial = marker.with_suffix(".partial")
        # A kill while the folder was made leaves no more than this.
        if writes and self.folder.is_dir() and list(self.folder.iterdir()) == [partial]:
            partial.unlink()
        check_replaceable(self.folder, CONFIG_NAME)
        wanted = json.loads(json.dumps(configuration))
        if marker.is_file():
            found = read_json(marker)
            if other := [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]:
                raise InputError(
                    f"{self.folder} holds a run with another {', '.join(other)}; "
                    "give another folder, or ask for what it was begun with"
                )
        elif writes:
            with saving(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                partial.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
                partial.replace(marker)

    def projection(self, i: int) -> LoopState:
        """Where the i-th projection keeps its state; each is one process's own."""
        return LoopState(self.folder / f"projection-{i}.safetensors")

    @property
    def tuning(self) -> LoopState:
        """Where the tuning keeps its state, which is the same in all processes."""
        return LoopState(self.folder / "tuning.safetensors", writes=self.writes)

    def pivot(self, i: int) -> Tensor | None:
        """The i-th pivot on the CPU, where it has been found."""
        return self._pivot_file(i).read().get("pivot")

    def keep_pivot(self, i: int, pivot: Tensor) -> None:
        """The i-th pivot is found; the state of the search is no longer needed."""
        self._pivot_file(i).write({"pivot": pivot})
        self.projection(i).path.unlink(missing_ok=True)

    @property
    def result(self) -> Personalization | None:
        """What came out, where the run is finished."""
        folder = self.folder / "personalization"
        if not folder.is_dir():
            return None
        self._clear()
        return Personalization.from_pretrained(folder)

    def finish(self, personalization: Personalization) -> None:
        """Keep the result and remove the states that led to it."""
        if not self.writes:
            return
        personalization.save_pretrained(self.folder / "personalization")
        self._clear()

    def _clear(self) -> None:
        if self.writes:
            for pattern in ("projection-*.safetensors", "pivot-*.safetensors", "tuning.safetensors", ".*.partial"):
                for path in self.folder.glob(pattern):
                    path.unlink(missing_ok=True)

    def _pivot_file(self, i: int) -> LoopState:
        # In a multi-process run each process keeps those it has found.
        return LoopState(self.folder / f"pivot-{i}.safetensors")


def digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's values, by which a picture is known again."""
    return hashlib.sha256(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data).hexdigest()
