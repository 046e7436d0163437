"""Long work that survives a kill: a folder that holds what is known so far, and what it was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pti_hub.errors import InputError
from pti_hub.optim import LoopCheckpoint
from pti_hub.personalization import Personalization
from pti_hub.storage import as_save_error, check_replaceable, is_folder, read_json, remove_leftovers, write_json

CONFIG_NAME = "run.json"


class RunFolder:
    """One personalisation on its way: the checkpoints of its loops, the pivots found, at last the result.

    Photographs are not kept, only a digest by which they are known again.

    Args:
        folder: The folder; made where it is not there.
        configuration: All that the result depends on, of JSON's types.
        writes: Whether this process is the one that writes.

    Raises:
        InputError: The folder is of a run with another configuration, or holds something else.
        SaveError: The disk is full, or the place is not writable.
    """

    def __init__(self, folder: str | Path, configuration: Mapping[str, Any], writes: bool = True) -> None:
        self.folder, self.writes = Path(folder), writes
        marker = self.folder / CONFIG_NAME
        # A kill while the folder was made leaves nothing else in it.
        if writes:
            remove_leftovers(self.folder)
        check_replaceable(self.folder, CONFIG_NAME)
        given = json.loads(json.dumps(configuration))
        if marker.is_file():
            existing = read_json(marker)
            if other := [key for key in {**given, **existing} if given.get(key) != existing.get(key)]:
                raise InputError(
                    f"{self.folder} holds a run with another {', '.join(other)}; "
                    "give another folder, or ask for what it was begun with"
                )
        elif writes:
            with as_save_error(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            write_json(marker, given)

    def projection(self, i: int) -> LoopCheckpoint:
        """The checkpoint of the i-th projection, which one process writes.

        Args:
            i: Number of the photograph.
        """
        return LoopCheckpoint(self.folder / f"projection-{i}.safetensors")

    @property
    def tuning(self) -> LoopCheckpoint:
        """The checkpoint of the tuning, which is the same in all processes."""
        return LoopCheckpoint(self.folder / "tuning.safetensors", writes=self.writes)

    def pivot(self, i: int) -> Tensor | None:
        """The i-th pivot on the CPU, where it has been found.

        Args:
            i: Number of the photograph.
        """
        return self._pivot_file(i).read().get("pivot")

    def keep_pivot(self, i: int, pivot: Tensor) -> None:
        """Keep the i-th pivot, and remove the checkpoint of its projection.

        Args:
            i: Number of the photograph.
            pivot: `[w_dim]` or `[num_ws, w_dim]`.
        """
        self._pivot_file(i).write({"pivot": pivot})
        self.projection(i).path.unlink(missing_ok=True)

    @property
    def result(self) -> Personalization | None:
        """What came out, where the run is finished."""
        folder = self.folder / "personalization"
        if not is_folder(folder):
            return None
        self._clear()
        return Personalization.from_pretrained(folder)

    def finish(self, personalization: Personalization) -> None:
        """Keep the result and remove the checkpoints that led to it.

        Args:
            personalization: The result.
        """
        if not self.writes:
            return
        personalization.save_pretrained(self.folder / "personalization")
        self._clear()

    def _clear(self) -> None:
        if self.writes:
            for pattern in ("projection-*.safetensors", "pivot-*.safetensors", "tuning.safetensors"):
                for path in self.folder.glob(pattern):
                    path.unlink(missing_ok=True)

    def _pivot_file(self, i: int) -> LoopCheckpoint:
        # Where there are several processes, each keeps the pivots it has found.
        return LoopCheckpoint(self.folder / f"pivot-{i}.safetensors")
