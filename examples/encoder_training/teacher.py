"""The loop that teaches an encoder."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm.auto import tqdm

from encoder_training.degradation import degraded, to_floats
from encoder_training.samples import CHUNK, Samples, at_once, pictured, shrunk
from encoder_training.settings import Settings
from pti_hub.encoders import ArcFace, LightEncoder
from pti_hub.generators import Generator
from pti_hub.optim import LoopCheckpoint, adam_state, learning_rate_factor, mixed_precision, restore_adam
from pti_hub.perceptual import LPIPS
from pti_hub.storage import append_row, read_rows, replace_rows

JUDGED = 16  # held-out samples that are rendered again
LOG_STEPS = 250


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
        self.checkpoint = LoopCheckpoint(run / "state.safetensors", every=LOG_STEPS)
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
        if before := self.checkpoint.read():
            first, seconds = int(before["step"]), before["seconds"].item()
            encoder.load_state_dict({name: before[f"encoder.{name}"] for name in encoder.state_dict()})
            restore_adam(optimizer, before)
        if accelerator.is_main_process:
            self._forget_after(first)
        network = accelerator.prepare(encoder) if accelerator.num_processes > 1 else encoder
        began, seen = time.monotonic() - seconds, Running()
        bar = tqdm(total=total, initial=first, desc="teach", disable=not accelerator.is_local_main_process)
        for step in range(first, total + 1):
            if (step % self.checkpoint.every == 0 or step == total) and not 0 < step == first:
                spent = time.monotonic() - began
                if accelerator.is_main_process:
                    self._report(encoder, step, spent, seen)
                    if step:
                        kept = {f"encoder.{name}": t for name, t in encoder.state_dict().items()}
                        now = {"step": torch.tensor(step), "seconds": torch.tensor(spent, dtype=torch.float64)}
                        self.checkpoint.write({**now, **kept, **adam_state(optimizer)})
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
        append_row(self.log, {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()})
        tqdm.write("  ".join(f"{k} {v:.4g}" for k, v in row.items()))

    def _forget_after(self, step: int) -> None:
        """Drop lines of the log that are of steps about to be taken again."""
        if self.log.is_file():
            replace_rows(self.log, [row for row in read_rows(self.log) if 0 < step >= row["step"]])


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
