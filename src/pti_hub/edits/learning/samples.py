"""A generator's own pictures, from which edits are learned: rendered once, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants
from PIL import Image
from torch import Tensor, nn
from tqdm.auto import tqdm

from pti_hub.errors import InputError, WeightsError, one_line
from pti_hub.generators import Generator
from pti_hub.images import to_pil
from pti_hub.logging import get_logger
from pti_hub.optim import mixed_precision, reused_memory
from pti_hub.storage import as_save_error, fingerprint, read_tensors, remove_leftovers, replaced_file, write_tensors

_RESOLUTION = 512
_CHUNK = 50  # latents whose measurements are in one file: an interruption loses no more
_PART = 10  # pictures that are measured together


class Samples:
    """Random latents of a generator with their pictures.

    Each latent is drawn with a truncation of its own, from 0.7 to 1. Pictures are rendered when they are first asked
    for, and kept as files, so that a second attribute costs no rendering and an interruption loses nothing.

    Args:
        generator: The generator.
        count: Number of latents.
        folder: Where each generator and seed get a folder for pictures and measurements; by default below
            huggingface-hub's home.
        seed: Seed of the latents.
        progress_bar_config: Arguments of tqdm's bars.

    Attributes:
        latents: `[N, w_dim]`, on the CPU.
        folder: Where the pictures are.

    Raises:
        InputError: The count is below 1.
    """

    def __init__(
        self,
        generator: Generator,
        count: int = 2000,
        folder: str | Path | None = None,
        seed: int = 0,
        progress_bar_config: dict[str, Any] | None = None,
    ) -> None:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InputError(f"{count!r} samples were asked for; expected a whole number of at least 1")
        self.generator, self.count = generator, count
        self._resolution, self._bar = min(_RESOLUTION, generator.resolution), progress_bar_config or {}
        assert isinstance(generator, nn.Module)
        name = f"samples-{fingerprint(generator)[:12]}-{seed}-{generator.w_avg.dtype}".replace("torch.", "")
        self.folder = Path(folder or Path(constants.HF_HOME) / "pti-hub") / name
        # One chunk after the other, so that a larger count begins with the same latents.
        chunks = [self._draw(k, seed) for k in range(-(-count // _CHUNK))]
        self.latents = torch.cat(chunks)[:count]

    @torch.no_grad()
    def _draw(self, chunk: int, seed: int) -> Tensor:
        random = torch.Generator().manual_seed(seed * 1_000_003 + chunk)
        z = torch.randn(_CHUNK, self.generator.z_dim, generator=random)
        psi = 0.7 + 0.3 * torch.rand(_CHUNK, 1, generator=random)
        w_avg = self.generator.w_avg
        return w_avg.lerp(self.generator.mapping(z.to(w_avg)), psi.to(w_avg)).float().cpu()

    def measure(self, function: Callable[[list[Image.Image]], Any], key: str | None = None) -> Tensor:
        """Numbers of all pictures.

        Args:
            function: Takes up to 10 pictures, and returns one number or one row of numbers for each.
            key: Name under which the numbers are kept, and read the next time; by default they are not kept.

        Returns:
            float32 `[N]` or `[N, D]`.

        Raises:
            InputError: The function returns another number of rows, or the key is no file name.
            SaveError: The pictures can't be kept.
        """
        if key is not None and (not key or Path(key).name != key):
            raise InputError(f"key={key!r}; expected a name that a folder can have")
        parts = []
        for folder in (self.folder, *([] if key is None else [self.folder / key])):
            remove_leftovers(folder)
        with tqdm(total=self.count, desc="samples", **self._bar) as bar:
            for chunk in range(-(-self.count // _CHUNK)):
                numbers = range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, self.count))
                parts.append(self._chunk(function, None if key is None else self.folder / key, numbers, bar))
        return torch.cat(parts)

    def _chunk(
        self, function: Callable[[list[Image.Image]], Any], folder: Path | None, numbers: range, bar: Any
    ) -> Tensor:
        file = None if folder is None else folder / f"{numbers[0]:06d}.safetensors"
        if file is not None and file.exists():
            # A chunk that was cut short by a smaller count is measured again.
            kept = _kept(file)
            if kept is not None and len(kept) >= len(numbers):
                bar.update(len(numbers))
                return kept[: len(numbers)]
        rows = []
        for part in (numbers[k : k + _PART] for k in range(0, len(numbers), _PART)):
            measured = torch.as_tensor(function(list(self.pictures(part))), dtype=torch.float32).cpu()
            if measured.ndim not in (1, 2) or len(measured) != len(part):
                raise InputError(
                    f"measuring {len(part)} pictures gave {list(measured.shape)}; expected a number, or a row of "
                    "numbers, for each"
                )
            rows.append(measured)
            bar.update(len(part))
        result = torch.cat(rows)
        if file is not None:
            with as_save_error(file.parent):
                file.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(file, {"values": result})
        return result

    def pictures(self, numbers: Sequence[int]) -> Iterator[Image.Image]:
        """Pictures of some latents, by number, at 512 pixels or the generator's own resolution if that is less.

        Args:
            numbers: Numbers of latents, counted from 0.

        Raises:
            SaveError: The pictures can't be kept.
        """
        with as_save_error(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            path = self.folder / f"{number:06d}.jpg"
            picture = _readable(path)
            if picture is None:
                picture = self._render(number)
                with replaced_file(path) as partial:
                    picture.save(partial, "JPEG", quality=95, subsampling=0)
                # The same picture whether it was kept or not.
                picture = _readable(path) or picture
            yield picture

    @torch.no_grad()
    def _render(self, number: int) -> Image.Image:
        w = self.latents[number, None].to(self.generator.w_avg)
        with reused_memory(), mixed_precision(w.device):
            return to_pil(self.generator.synthesis(w, resolution=self._resolution))[0]


def _kept(file: Path) -> Tensor | None:
    """Measurements of an earlier run; `None` where they are damaged."""
    try:
        return read_tensors(file)["values"]
    except (WeightsError, KeyError) as error:
        get_logger(__name__).warning(f"{file} is damaged and measured again ({one_line(error)})")
        return None


def _readable(path: Path) -> Image.Image | None:
    try:
        with Image.open(path, formats=("JPEG",)) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError):
        return None
