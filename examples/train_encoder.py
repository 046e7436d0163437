"""Teach an encoder to invert a generator in one pass, from the generator's own samples.

    python examples/train_encoder.py outputs/encoder                         # for the default generator
    python examples/train_encoder.py outputs/cats --model my-cats            # for any other
    python examples/train_encoder.py outputs/encoder --space w+ --photographs photos
    accelerate launch examples/train_encoder.py outputs/encoder              # several processes or GPUs

It draws latents, renders them once into RUN/samples, measures to which directions of W the pictures are sensitive,
degrades them as photographs are degraded, and learns the way back: picture → w. Its body are AlexNet's convolutions,
which LPIPS brings along. The encoder is RUN/encoder, what it does on samples that were held out RUN/log.jsonl and
RUN/curves.png. The same call goes on after a kill.

    pipe.encoder = LightEncoder.from_pretrained("outputs/encoder/encoder")
    pipe.projector = "auto"
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import typer
from accelerate import Accelerator
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from pti_hub import PTIError, PTIPipeline
from pti_hub.checkpoints.hub import one_line, read_tensors
from pti_hub.encoders import ArcFace, LightEncoder
from pti_hub.errors import InputError
from pti_hub.evaluation import open_photographs
from pti_hub.files import replaced_folder, saving
from pti_hub.generators import Generator
from pti_hub.generators.protocol import chosen_resolution
from pti_hub.images import to_tensor
from pti_hub.loops import (
    LoopState,
    adam_state,
    learning_rate_factor,
    mixed_precision,
    place,
    restore_adam,
    reused_memory,
)
from pti_hub.natural import Metric
from pti_hub.perceptual import LPIPS
from pti_hub.runs import RunFolder, digest
from pti_hub.tuners import fingerprint

CHUNK = 64  # samples a file
HELD_OUT = 2  # the first so many files
AXES = 96  # of the metric; the others it takes for the least sensitive
JUDGED = 16  # held-out samples that are rendered again
LOG_STEPS = 250


@dataclass(frozen=True)
class Settings:
    """What is learned from what; a run keeps it.

    Attributes:
        samples: Pictures rendered, besides those held out.
        truncation: ψ of the samples is spread evenly between these.
        size: Height and width at which pictures are kept, in pixels.
        picture_size: Height and width at which they are compared.
        resolution: Height and width that the encoder takes.
        space: `"w"` or `"w+"`.
        steps: Steps in which latents are compared.
        picture_steps: Steps after these in which pictures are compared as well.
        batch_size: Pictures a step, over all processes.
        picture_share: Share of a batch for which G(ŵ) is rendered and compared.
        learning_rate: Peak of Adam's rate for the head.
        picture_rate: The same of the later steps.
        body_rate: That of the body, as a share of it.
        lpips_weight: λ of LPIPS.
        l2_weight: λ of the squared difference of pixels.
        identity_weight: λ of 1 − cosine of ArcFace's embeddings.
        offset_weight: λ of the offsets' squared length, in W+.
        metric_samples: Samples of which the metric is estimated; 0 for none.
        seed: Seed of everything random.
    """

    samples: int
    truncation: tuple[float, float]
    size: int
    picture_size: int
    resolution: int
    space: str
    steps: int
    picture_steps: int
    batch_size: int
    picture_share: float
    learning_rate: float
    picture_rate: float
    body_rate: float
    lpips_weight: float
    l2_weight: float
    identity_weight: float
    offset_weight: float
    metric_samples: int
    seed: int


def main(
    run: Annotated[Path, typer.Argument(help="Folder of the samples, the state and the encoder.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Known checkpoint, folder or Hub id.")] = (
        "pti-hub/mobilestylegan-ffhq"
    ),
    samples: Annotated[int, typer.Option(min=CHUNK, help="Pictures to render.")] = 20_000,
    truncation: Annotated[tuple[float, float], typer.Option(help="Between which ψ they are spread.")] = (0.6, 1.1),
    size: Annotated[int, typer.Option(help="Side at which pictures are kept, in pixels.")] = 256,
    picture_size: Annotated[int, typer.Option(help="Side at which they are compared, in pixels.")] = 128,
    resolution: Annotated[int, typer.Option(help="Side of the pictures that the encoder takes, in pixels.")] = 192,
    space: Annotated[str, typer.Option(help="w, or w+ close to it.")] = "w",
    steps: Annotated[int, typer.Option(min=0, help="Steps in which latents are compared.")] = 2500,
    picture_steps: Annotated[int, typer.Option(min=0, help="Steps after these: pictures too.")] = 800,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures a step.")] = 32,
    picture_share: Annotated[float, typer.Option(min=0, max=1, help="Share of a batch whose pictures are.")] = 0.25,
    learning_rate: Annotated[float, typer.Option(help="Peak rate of the head.")] = 1e-3,
    picture_rate: Annotated[float, typer.Option(help="The same of the later steps.")] = 3e-4,
    body_rate: Annotated[float, typer.Option(min=0, help="The body's rate as a share; 0 leaves it as it is.")] = 0.2,
    lpips_weight: Annotated[float, typer.Option(help="Weight of LPIPS.")] = 2.0,
    l2_weight: Annotated[float, typer.Option(help="Weight of the pixels' squared difference.")] = 1.0,
    arcface: Annotated[str | None, typer.Option(help="ArcFace, as pti-hub convert writes it, or a Hub id.")] = None,
    identity_weight: Annotated[float, typer.Option(help="Weight of its embeddings' distance.")] = 0.1,
    offset_weight: Annotated[float, typer.Option(help="Weight of the offsets of w+.")] = 0.1,
    metric_samples: Annotated[
        int, typer.Option(min=0, help="So many give the metric of natural gradients, in 64s; 0: none.")
    ] = 1024,
    photographs: Annotated[
        str | None, typer.Option(help="Real photographs beside the samples: a folder, or a data set on the Hub.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="The first so many of them.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Write the weights in half precision.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=10**6, help="Seed of everything random.")] = 0,
) -> None:
    """Render samples of a generator and teach an encoder to invert them."""
    pipe = PTIPipeline.from_pretrained(model)
    generator, device = pipe.generator, pipe.device
    # Precision is `loops.mixed_precision`'s choice, as in the other loops.
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
    size = min(size, generator.resolution)
    settings = Settings(
        samples=samples // CHUNK * CHUNK,
        truncation=truncation,
        size=size,
        picture_size=min(picture_size, size),
        resolution=resolution,
        space=space,
        steps=steps,
        picture_steps=picture_steps,
        batch_size=batch_size,
        picture_share=picture_share,
        learning_rate=learning_rate,
        picture_rate=picture_rate,
        body_rate=body_rate,
        lpips_weight=lpips_weight,
        l2_weight=l2_weight,
        identity_weight=identity_weight if arcface else 0.0,
        offset_weight=offset_weight,
        metric_samples=min(metric_samples, samples),
        seed=seed,
    )
    # 1. What could fail after the work, before it.
    check(settings, generator, accelerator.num_processes, photographs is not None or arcface is not None)
    encoder = new_encoder(pipe, settings)
    real = None if photographs is None else aligned(pipe, photographs, count, size)
    identity = None if arcface is None else ArcFace.load(arcface).to(device).eval().requires_grad_(False)
    told = {
        "generator": fingerprint(generator),
        "perceptual": fingerprint(pipe.projector_perceptual),
        "arcface": identity and fingerprint(identity),
        "photographs": None if real is None else digest(real),
        "processes": accelerator.num_processes,
        **dataclasses.asdict(settings),
    }
    if accelerator.is_main_process:
        RunFolder(run, told)
    accelerator.wait_for_everyone()
    # 2. Samples, shared out over the processes.
    data = Samples(run / "samples", settings)
    with reused_memory():
        data.render(generator, accelerator)
        accelerator.wait_for_everyone()
        # 3. What pictures are sensitive to.
        if settings.metric_samples:
            gradients = data.gradients(generator, pipe.projector_perceptual, accelerator)
            encoder.metric = Metric.of(gradients, encoder.num_axes)
        # 4. Learn the way back.
        Teacher(settings, generator, pipe.projector_perceptual, identity, data, real, accelerator, run).teach(encoder)
    # 5. Keep it.
    if accelerator.is_main_process:
        with replaced_folder(run / "encoder", "config.json") as folder:
            encoder.save_pretrained(folder)
            if half:
                weights = read_tensors(folder / "model.safetensors")
                rounded = {name: t.half() if t.ndim > 1 else t for name, t in weights.items()}
                save_file(rounded, folder / "model.safetensors", metadata={"format": "pt"})
        curves(run)
        print(f"the encoder: {run / 'encoder'}")


def check(settings: Settings, generator: Generator, processes: int, pictured_too: bool) -> None:
    """Find what can't be before the long work begins.

    Raises:
        InputError: A number is out of range, or does not go with another.
    """
    for option, size in (("--size", settings.size), ("--picture-size", settings.picture_size)):
        try:
            chosen_resolution(generator, size)
        except InputError as error:
            raise InputError(f"{option} {size}; expected {generator.resolution} divided by a power of two") from error
    if settings.batch_size % processes or settings.samples < settings.batch_size:
        raise InputError(
            f"--batch-size {settings.batch_size} for {processes} processes and {settings.samples} samples; expected a "
            "multiple of the one and at most the other"
        )
    if 0 < settings.metric_samples < CHUNK:
        raise InputError(f"--metric-samples {settings.metric_samples}; expected 0 or at least {CHUNK}")
    if pictured_too and not (settings.picture_steps and settings.picture_share):
        raise InputError("--photographs and --arcface are for steps that compare pictures; give some --picture-steps")


def aligned(pipe: PTIPipeline, source: str, count: int | None, size: int) -> Tensor:
    """Photographs as the generator knows pictures, uint8 `[N, 3, size, size]`; those without one face are left out."""
    found = []
    for photograph in tqdm(open_photographs(source, count), desc="photographs", disable=not place().is_main_process):
        try:
            if photograph.image is None:
                raise InputError(photograph.problem or "unreadable")
            found.append(to_bytes(to_tensor(pipe.prepare(photograph.image), size))[0])
        except InputError as error:
            if place().is_main_process:
                tqdm.write(f"left out {photograph.name}: {one_line(error)}")
    if not found:
        raise InputError(f"{source} holds no photograph that can be used")
    return torch.stack(found)


def to_bytes(pictures: Tensor) -> Tensor:
    """[-1, 1] → uint8."""
    return (pictures.float() * 127.5 + 127.5).round().clamp(0, 255).byte()


def to_floats(pictures: Tensor) -> Tensor:
    """uint8 → [-1, 1]."""
    return pictures.float() / 127.5 - 1


class Samples:
    """Latents and their pictures, kept in files of `CHUNK`, of which the first are held out.

    Args:
        folder: Where.
        settings: How many, how large, how they are drawn.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.chunks = HELD_OUT + settings.samples // CHUNK

    def _path(self, chunk: int) -> Path:
        return self.folder / f"{chunk:06d}.safetensors"

    @torch.no_grad()
    def render(self, generator: Generator, accelerator: Accelerator) -> None:
        """Make the files that are not there yet; the seed of one is its number and the run's."""
        cfg, device = self.settings, generator.w_avg.device
        with saving(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
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
            LoopState(self._path(chunk)).write({"w": w, "pictures": torch.cat(parts)})

    def gradients(self, generator: Generator, perceptual: LPIPS, accelerator: Accelerator) -> Tensor:
        """∇_ŵ LPIPS(G(ŵ), G(w)) `[metric_samples, w_dim]`, ŵ a part of the way from w to another's.

        Kept in files beside the samples, too.
        """
        cfg, device = self.settings, generator.w_avg.device
        chunks = range(HELD_OUT, HELD_OUT + cfg.metric_samples // CHUNK)
        paths = {chunk: self.folder / f"{chunk:06d}.gradients.safetensors" for chunk in chunks}
        mine = list(paths)[accelerator.process_index :: accelerator.num_processes]
        missing = [chunk for chunk in mine if not paths[chunk].is_file()]
        for chunk in tqdm(missing, desc="metric", unit_scale=CHUNK, disable=not accelerator.is_local_main_process):
            first = (chunk - HELD_OUT) * CHUNK
            w, pictures = self.read(list(range(first, first + CHUNK)))
            random = torch.Generator().manual_seed(cfg.seed * 10**6 + chunk)
            way = 0.1 + 0.6 * torch.rand(CHUNK, *[1] * (w.ndim - 1), generator=random)
            few, size = at_once(device), cfg.picture_size
            codes = w.lerp(w.roll(1, 0), way).to(device).requires_grad_()
            for part, x in zip(codes.split(few), pictures.split(few), strict=True):
                with mixed_precision(device):
                    made = pictured(generator, part, size)
                    distance = perceptual(made, shrunk(to_floats(x.to(device)), size)).sum()
                distance.backward()
            assert codes.grad is not None
            # In W+ all layers move alike.
            gradients = codes.grad if w.ndim == 2 else codes.grad.sum(1)
            LoopState(paths[chunk]).write({"gradients": gradients})
        accelerator.wait_for_everyone()
        return torch.cat([LoopState(path).read()["gradients"] for path in paths.values()])

    def __len__(self) -> int:
        return (self.chunks - HELD_OUT) * CHUNK

    def read(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """w `[B, w_dim]`, or in W+ `[B, num_ws, w_dim]`, and pictures `[B, 3, size, size]`, uint8, by number."""
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
        """The same of those that are not learned from."""
        return self.read(list(range(-HELD_OUT * CHUNK, 0)))


def crossed(w: Tensor, num_ws: int, random: torch.Generator) -> Tensor:
    """ws `[B, num_ws, w_dim]` of w `[B, w_dim]`: in half of them the finer layers are another's.

    Without such pictures, which no single w makes, there were nothing to learn outside W.
    """
    cut = torch.randint(1, num_ws, (len(w), 1, 1), generator=random)
    alone = torch.rand(len(w), 1, 1, generator=random) < 0.5
    own = (torch.arange(num_ws)[None, :, None] < cut) | alone
    return torch.where(own.to(w.device), w[:, None], w.roll(1, 0)[:, None])


def pictured(generator: Generator, ws: Tensor, size: int) -> Tensor:
    """G(w) at a size, as a photograph shrunk to it: StyleGAN2 stopped early would leave its finer layers out."""
    picture = generator.synthesis(ws, resolution=None if generator.stops_early else size)
    return shrunk(picture, size)


def at_once(device: torch.device) -> int:
    """Pictures that are rendered together; a CPU is quickest with one."""
    return 1 if device.type == "cpu" else 16


def new_encoder(pipe: PTIPipeline, settings: Settings) -> LightEncoder:
    """An encoder for a generator, its body that of LPIPS with AlexNet, where the pipeline has it."""
    torch.manual_seed(settings.seed)
    generator: Any = pipe.generator
    axes = min(AXES, generator.w_dim) if settings.metric_samples else 0
    space: Any = settings.space
    encoder = LightEncoder(generator.w_dim, generator.num_ws, space, settings.resolution, axes)
    for network in (pipe.perceptual, pipe.projector_perceptual):
        if network.net == "alex":
            encoder.body.load_state_dict(network.features.state_dict())
            break
    else:
        if place().is_main_process:
            print("no LPIPS with AlexNet in the pipeline: the body begins at random, and needs many more samples")
    z = torch.randn(4096, generator.z_dim, generator=torch.Generator().manual_seed(settings.seed))
    with torch.no_grad():
        w = generator.mapping(z.to(pipe.device))
    encoder.w_avg.copy_(generator.w_avg)
    encoder.w_scale.copy_(w.std(0))
    torch.nn.init.normal_(encoder.to_w.weight, std=0.1 / math.sqrt(encoder.to_w.in_features))
    return encoder.to(pipe.device)


def degraded(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Pictures `[B, 3, H, W]` in [-1, 1] as photographs are: askew, blurred, off in colour, noisy, compressed.

    Each fault is in some of them, at a strength of its own.
    """
    batch, _, height, width = pictures.shape
    device = pictures.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=random, device=device)

    def sometimes(share: float) -> Tensor:
        return (uniform() < share).float()

    # 1. An alignment that is off by up to 4°, 5 % and 3 % of the width.
    angle = (uniform() - 0.5) * 0.14
    scale = 1 + (uniform() - 0.5) * 0.1
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    shift = (uniform(2) - 0.5) * 0.12
    theta = torch.stack([cosine, -sine, shift[:, 0], sine, cosine, shift[:, 1]], 1).view(batch, 2, 3)
    straight = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], device=device)
    theta = torch.where(sometimes(0.75)[:, None, None] > 0, theta, straight)
    grid = F.affine_grid(theta, [batch, 3, height, width], align_corners=False)
    x = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    # 2. Blur, a Gaussian's of up to 1 % of the width.
    sigma = (sometimes(0.5) * uniform() * 0.01 * width).clamp_min(1e-3)
    reach = math.ceil(0.025 * width)
    offsets = torch.arange(-reach, reach + 1, device=device)
    kernel = (-0.5 * (offsets / sigma[:, None]).square()).exp()
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)[:, None, None]
    x = F.pad(x, [reach] * 4, mode="reflect").view(1, batch * 3, height + 2 * reach, width + 2 * reach)
    x = F.conv2d(x, kernel, groups=batch * 3)
    x = F.conv2d(x, kernel.transpose(2, 3), groups=batch * 3).view(batch, 3, height, width)
    # 3. Colour: contrast and brightness of each channel.
    coloured = sometimes(0.5)[:, None, None, None]
    gain = 1 + coloured * ((uniform(1, 1, 1) - 0.5) * 0.3 + (uniform(3, 1, 1) - 0.5) * 0.1)
    x = x * gain + coloured * ((uniform(1, 1, 1) - 0.5) * 0.2 + (uniform(3, 1, 1) - 0.5) * 0.06)
    # 4. Noise.
    sigma = (sometimes(0.4) * uniform() * 0.15)[:, None, None, None]
    x = (x + sigma * torch.randn(x.shape, generator=random, device=device)).clamp(-1, 1)
    # 5. JPEG.
    quality = (30 + 65 * uniform()).int().tolist()
    for i, compressed in enumerate(sometimes(0.3).tolist()):
        if compressed:
            x[i] = to_floats(through_jpeg(to_bytes(x[i]), quality[i])).to(device)
    return x


def through_jpeg(picture: Tensor, quality: int) -> Tensor:
    """uint8 `[3, H, W]` as a JPEG file gives it back."""
    buffer = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).cpu().numpy()).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


class Teacher:
    """The loop, and what it needs.

    Args:
        settings: What is learned how.
        generator: G, frozen.
        perceptual: Distance of pictures, that of Eq. 1.
        identity: Embeds faces, where their identity counts.
        data: Samples.
        real: Photographs uint8 `[N, 3, size, size]`.
        accelerator: Place and number of processes.
        run: Folder of the state and the log.
    """

    def __init__(
        self,
        settings: Settings,
        generator: Generator,
        perceptual: LPIPS,
        identity: ArcFace | None,
        data: Samples,
        real: Tensor | None,
        accelerator: Accelerator,
        run: Path,
    ) -> None:
        self.settings, self.generator, self.perceptual, self.identity = settings, generator, perceptual, identity
        self.data, self.real, self.accelerator = data, real, accelerator
        self.log = run / "log.jsonl"
        self.state = LoopState(run / "state.safetensors", every=LOG_STEPS)
        self.device = generator.w_avg.device

    def teach(self, encoder: LightEncoder) -> None:
        """Teach an encoder in place, from where the run stands."""
        cfg, accelerator = self.settings, self.accelerator
        total = cfg.steps + cfg.picture_steps
        body = list(encoder.body.parameters())
        inside = {id(p) for p in body}
        head = [p for p in encoder.parameters() if id(p) not in inside]
        for p in body:
            p.requires_grad_(cfg.body_rate > 0)
        shares = [(head, 1.0)] + [(body, cfg.body_rate)] * (cfg.body_rate > 0)
        optimizer = torch.optim.Adam([{"params": part, "share": share} for part, share in shares], fused=True)
        first, seconds = 0, 0.0
        if before := self.state.read():
            first, seconds = int(before["step"]), before["seconds"].item()
            encoder.load_state_dict({name: before[f"encoder.{name}"] for name in encoder.state_dict()})
            restore_adam(optimizer, before)
        if accelerator.is_main_process:
            self._forget_after(first)
        network = accelerator.prepare(encoder) if accelerator.num_processes > 1 else encoder
        began, seen = time.monotonic() - seconds, Running()
        bar = tqdm(total=total, initial=first, desc="teach", disable=not accelerator.is_local_main_process)
        for step in range(first, total + 1):
            if (step % self.state.every == 0 or step == total) and not 0 < step == first:
                spent = time.monotonic() - began
                if accelerator.is_main_process:
                    self._report(encoder, step, spent, seen)
                    if step:
                        kept = {f"encoder.{name}": t for name, t in encoder.state_dict().items()}
                        now = {"step": torch.tensor(step), "seconds": torch.tensor(spent, dtype=torch.float64)}
                        self.state.write({**now, **kept, **adam_state(optimizer)})
                seen = Running()
            if step == total:
                break
            if step == cfg.steps:
                # Moments of one loss would make far too long a step of another's gradient.
                optimizer.state.clear()
            peak, t = cfg.learning_rate, step / max(1, cfg.steps)
            if step >= cfg.steps:
                peak, t = cfg.picture_rate, (step - cfg.steps) / cfg.picture_steps
            for group in optimizer.param_groups:
                group["lr"] = peak * group["share"] * learning_rate_factor(t, 0.05, 0.5)
            losses = self._step(network, step)
            # Pictures have now and then a gradient many times the others'.
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            seen.add(losses)
            bar.update()
        bar.close()

    def _step(self, network: Any, step: int) -> dict[str, Tensor]:
        """Gradients of one batch; the losses by name."""
        cfg, rank, processes = self.settings, self.accelerator.process_index, self.accelerator.num_processes
        share, steps_an_epoch = cfg.batch_size // processes, len(self.data) // cfg.batch_size
        epoch, place_in_it = divmod(step, steps_an_epoch)
        order = torch.randperm(len(self.data), generator=torch.Generator().manual_seed(cfg.seed * 10**6 + epoch))
        start = place_in_it * cfg.batch_size + rank * share
        w, pictures = self.data.read(order[start : start + share].tolist())
        random = torch.Generator(self.device).manual_seed((cfg.seed * 10**9 + step) * 1000 + rank)
        compared = math.ceil(cfg.picture_share * share) if step >= cfg.steps else 0
        if self.real is not None and compared:
            chosen = torch.randint(len(self.real), (math.ceil(compared / 4),), generator=random, device=self.device)
            pictures = torch.cat([self.real[chosen.cpu()], pictures])
            compared += len(chosen)
        clean = to_floats(pictures.to(self.device))
        spoilt = shrunk(degraded(clean, random), cfg.resolution)
        with mixed_precision(self.device):
            found = network(spoilt)
        # 1. ‖ŵ − w‖² of samples; real photographs have no w.
        losses = {"w": w_error(found[-share:], w.to(self.device), self.generator)}
        loss = losses["w"]
        if found.ndim == 3:
            offsets = found - found.mean(1, keepdim=True)
            losses["offsets"] = cfg.offset_weight * w_error(offsets, torch.zeros_like(offsets), self.generator)
            loss = loss + losses["offsets"]
        # 2. L(x, G(ŵ)), a few pictures at a time: gradients stop at ŵ and go on from there all together.
        if compared:
            codes, few = found[:compared].detach().requires_grad_(), at_once(self.device)
            for part, x in zip(codes.split(few), shrunk(clean[:compared], cfg.picture_size).split(few), strict=True):
                with mixed_precision(self.device):
                    distances = self._distances(pictured(self.generator, part, cfg.picture_size), x)
                (sum(distances.values(), torch.zeros((), device=self.device)) / compared).backward()
                for name, distance in distances.items():
                    losses[name] = losses.get(name, 0) + distance.detach() / compared
            assert codes.grad is not None
            loss = loss + (found[:compared] * codes.grad).sum()
        self.accelerator.backward(loss)
        return {name: value.detach() for name, value in losses.items()}

    def _distances(self, made: Tensor, x: Tensor) -> dict[str, Tensor]:
        """How far pictures are from what they are to be, weighted, summed over the batch."""
        cfg = self.settings
        distances = {
            "lpips": cfg.lpips_weight * self.perceptual(made, x).sum(),
            "l2": cfg.l2_weight * (made - x).square().mean((1, 2, 3)).sum(),
        }
        if self.identity is not None:
            with torch.no_grad():
                expected = self.identity(x)
            distances["identity"] = cfg.identity_weight * (1 - (self.identity(made) * expected).sum(1)).sum()
        return distances

    @torch.no_grad()
    def _report(self, encoder: LightEncoder, step: int, seconds: float, seen: Running) -> None:
        """A line of the log: what it does on samples that were held out."""
        cfg = self.settings
        encoder.eval()
        w, pictures = (part.to(self.device) for part in self.data.held_out())
        clean = to_floats(pictures)
        random = torch.Generator(self.device).manual_seed(cfg.seed)
        found = encoder(shrunk(clean, cfg.resolution))
        spoilt = torch.cat([encoder(shrunk(degraded(part, random), cfg.resolution)) for part in clean.split(CHUNK)])
        row = {"step": step, "seconds": round(seconds, 1)} | {f"train_{name}": m for name, m in seen.means().items()}
        row |= {"w": w_error(found, w, self.generator).item(), "w_degraded": w_error(spoilt, w, self.generator).item()}
        # Before it has learned anything, what it is to be measured by.
        name, judged = "lpips", found[:JUDGED]
        if step == 0:
            name, judged = "lpips_mean_latent", self.generator.w_avg[None].expand(JUDGED, -1)
        few, like = at_once(self.device), shrunk(clean[:JUDGED], cfg.picture_size)
        distances = [
            self.perceptual(pictured(self.generator, part, cfg.picture_size), x)
            for part, x in zip(judged.split(few), like.split(few), strict=True)
        ]
        row[name] = torch.cat(distances).mean().item()
        encoder.train()
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}) + "\n")
        tqdm.write("  ".join(f"{k} {v:.4g}" for k, v in row.items()))

    def _forget_after(self, step: int) -> None:
        """Drop lines of the log that are of steps about to be taken again."""
        if self.log.is_file():
            rows = [row for row in read_log(self.log) if 0 < step >= row["step"]]
            self.log.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


class Running:
    """Means of losses over some steps, without waiting for the device."""

    def __init__(self) -> None:
        self.sums: dict[str, list[Tensor]] = {}

    def add(self, losses: dict[str, Tensor]) -> None:
        """One step's."""
        for name, value in losses.items():
            self.sums.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        """By name."""
        return {name: torch.stack(values).mean().item() for name, values in self.sums.items()}


def w_error(found: Tensor, w: Tensor, generator: Generator) -> Tensor:
    """Mean of ‖ŵ − w‖² over W's variance: 0 for a perfect encoder, E[ψ²] for the mean latent."""
    return (found - w).square().sum(-1).mean() / generator.w_std.square()


def shrunk(pictures: Tensor, resolution: int) -> Tensor:
    """As `EncoderProjector` shrinks a target."""
    return F.interpolate(pictures, size=(resolution, resolution), mode="area")


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Lines of a log; one that a kill cut short is left out."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def curves(run: Path) -> None:
    """Draw the log, where matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    rows = list(read_log(run / "log.jsonl"))
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, names in ((left, ("train_w", "w", "w_degraded")), (right, ("lpips",))):
        for name in names:
            points = [(row["step"], row[name]) for row in rows if name in row]
            axes.plot(*zip(*points, strict=True), label=name)
        axes.set_xlabel("step")
        axes.legend()
    left.set_ylabel("‖ŵ − w‖² / W's variance")
    right.axhline(rows[0]["lpips_mean_latent"], color="gray", linestyle=":", label="mean latent")
    right.set_ylabel("LPIPS of held-out samples")
    right.legend()
    figure.savefig(run / "curves.png", dpi=110)


if __name__ == "__main__":
    try:
        typer.run(main)
    except PTIError as error:
        sys.exit(f"error: {error}")
