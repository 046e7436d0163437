"""A generator's latents and pictures, and how sensitive the pictures are to the latents."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm.auto import tqdm

from encoder_training.degradation import to_bytes, to_floats
from encoder_training.settings import Settings
from pti_hub.errors import InputError, one_line
from pti_hub.generators import Generator
from pti_hub.optim import LoopCheckpoint, mixed_precision
from pti_hub.perceptual import LPIPS
from pti_hub.storage import as_save_error, remove_leftovers

CHUNK = 64  # samples per file
HELD_OUT = 2  # number of files, the first ones, that are held out from training


class Samples:
    """Latents and their pictures, in files of `CHUNK` samples; the first `HELD_OUT` files are held out.

    Args:
        folder: Folder of the files.
        settings: Number, size and distribution of the samples, among others.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.chunks = HELD_OUT + settings.samples // CHUNK

    def _path(self, chunk: int) -> Path:
        return self.folder / f"{chunk:06d}.safetensors"

    @torch.no_grad()
    def render(self, generator: Generator, accelerator: Accelerator) -> None:
        """Render the missing files; a file's seed is computed from the file's number and the run's seed."""
        cfg, device = self.settings, generator.w_avg.device
        with as_save_error(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder)
        mine = range(accelerator.process_index, self.chunks, accelerator.num_processes)
        missing = [chunk for chunk in mine if not self._path(chunk).is_file()]
        for chunk in tqdm(missing, desc="render", unit_scale=CHUNK, disable=not accelerator.is_local_main_process):
            random = torch.Generator().manual_seed(cfg.seed * 10**6 + chunk)
            z = torch.randn(CHUNK, generator.z_dim, generator=random).to(device)
            low, high = cfg.truncation
            psi = low + (high - low) * torch.rand(CHUNK, 1, generator=random).to(device)
            w = generator.w_avg.lerp(generator.mapping(z), psi).float()
            if cfg.space == "w+":
                w = crossed(w, generator.num_ws, random)
            with mixed_precision(device):
                parts = [to_bytes(pictured(generator, part, cfg.size)) for part in w.split(at_once(device))]
            LoopCheckpoint(self._path(chunk)).write({"w": w, "pictures": torch.cat(parts)})

    def gradients(self, generator: Generator, perceptual: LPIPS, accelerator: Accelerator) -> Tensor:
        """Gradients ∇_ŵ LPIPS(G(ŵ), G(w)) `[preconditioner_samples, w_dim]`, at points ŵ between w and another w.

        The gradients are saved in files beside the samples.
        """
        cfg, device = self.settings, generator.w_avg.device
        chunks = range(HELD_OUT, HELD_OUT + cfg.preconditioner_samples // CHUNK)
        paths = {chunk: self.folder / f"{chunk:06d}.gradients.safetensors" for chunk in chunks}
        mine = list(paths)[accelerator.process_index :: accelerator.num_processes]
        missing = [chunk for chunk in mine if not paths[chunk].is_file()]
        for chunk in tqdm(
            missing, desc="preconditioner", unit_scale=CHUNK, disable=not accelerator.is_local_main_process
        ):
            first = (chunk - HELD_OUT) * CHUNK
            w, pictures = self.read(list(range(first, first + CHUNK)))
            random = torch.Generator().manual_seed(cfg.seed * 10**6 + chunk)
            fraction = 0.1 + 0.6 * torch.rand(CHUNK, *[1] * (w.ndim - 1), generator=random)
            few, size = at_once(device), cfg.picture_size
            codes = w.lerp(w.roll(1, 0), fraction).to(device).requires_grad_()
            for part, x in zip(codes.split(few), pictures.split(few), strict=True):
                with mixed_precision(device):
                    rendered = pictured(generator, part, size)
                    distance = perceptual(rendered, shrunk(to_floats(x.to(device)), size)).sum()
                distance.backward()
            assert codes.grad is not None
            # The preconditioner is for W, where all layers move together.
            gradients = codes.grad if w.ndim == 2 else codes.grad.sum(1)
            LoopCheckpoint(paths[chunk]).write({"gradients": gradients})
        accelerator.wait_for_everyone()
        return torch.cat([LoopCheckpoint(path).read()["gradients"] for path in paths.values()])

    def __len__(self) -> int:
        return (self.chunks - HELD_OUT) * CHUNK

    def read(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Latents `[B, w_dim]`, or `[B, num_ws, w_dim]` in W+, and uint8 pictures `[B, 3, size, size]`, by index."""
        ws, pictures = [], []
        for index in indices:
            chunk, row = divmod(index + HELD_OUT * CHUNK, CHUNK)
            path = self._path(chunk)
            try:
                with safe_open(path, "pt") as file:
                    ws.append(file.get_slice("w")[row])
                    pictures.append(file.get_slice("pictures")[row])
            except (OSError, SafetensorError) as error:
                raise InputError(
                    f"{path} is damaged ({one_line(error)}); delete it, and it is rendered again"
                ) from error
        return torch.stack(ws), torch.stack(pictures)

    def held_out(self) -> tuple[Tensor, Tensor]:
        """Latents and pictures of the held-out samples."""
        return self.read(list(range(-HELD_OUT * CHUNK, 0)))


def crossed(w: Tensor, num_ws: int, random: torch.Generator) -> Tensor:
    """Mix styles: ws `[B, num_ws, w_dim]` from w `[B, w_dim]`; half of them take the finer layers from another w.

    No single w renders such pictures. Without them there would be nothing to learn outside W.
    """
    cut = torch.randint(1, num_ws, (len(w), 1, 1), generator=random)
    unmixed = torch.rand(len(w), 1, 1, generator=random) < 0.5
    own = (torch.arange(num_ws)[None, :, None] < cut) | unmixed  # [B, num_ws, 1]
    return torch.where(own.to(w.device), w[:, None], w.roll(1, 0)[:, None])


def pictured(generator: Generator, ws: Tensor, size: int) -> Tensor:
    """G(w) scaled down like a photograph: a StyleGAN2 that stops early would leave out the finer layers."""
    picture = generator.synthesis(ws, resolution=None if generator.stops_early else size)
    return shrunk(picture, size)


def at_once(device: torch.device) -> int:
    """Number of pictures to render together; a CPU is fastest with one."""
    return 1 if device.type == "cpu" else 16


def shrunk(pictures: Tensor, resolution: int) -> Tensor:
    """Scale pictures down as `EncoderProjector` does with a target."""
    return F.interpolate(pictures, size=(resolution, resolution), mode="area")
