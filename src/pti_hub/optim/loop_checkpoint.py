"""Where a loop stands, kept in a file, so that it can be resumed after a kill."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from pti_hub.storage import as_weights_error, read_tensors, write_tensors


class LoopCheckpoint:
    """A file that holds the old state of a loop or the whole new one, never a part.

    Args:
        path: The file; it need not be there.
        every: Number of steps after which a loop writes the file anew.
        writes: Whether this process is the one that writes.
    """

    def __init__(self, path: Path, every: int = 25, writes: bool = True) -> None:
        self.path, self.every, self.writes = path, every, writes

    def read(self) -> dict[str, Tensor]:
        """The tensors that were written last, on the CPU; empty where nothing was written.

        Raises:
            WeightsError: The file is damaged.
        """
        if not self.path.is_file():
            return {}
        with as_weights_error(self.path, "delete it to do that part of the work anew"):
            return read_tensors(self.path)

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors by name.

        Args:
            tensors: Tensors on any device.

        Raises:
            SaveError: The disk is full, or the place is not writable.
        """
        if self.writes:
            write_tensors(self.path, tensors)
