"""The training loop of the encoder."""

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

JUDGED = 16  # number of held-out samples whose encoded latents are rendered for the log
LOG_STEPS = 250


class Teacher:
    """The training loop and everything it needs.

    Args:
        settings: Settings of the run.
        generator: G, frozen.
        perceptual: Perceptual distance between pictures, as in Eq. 1.
        identity: Embeds faces for the identity loss; `None` for no identity loss.
        data: Samples.
        real: Photographs, uint8 `[N, 3, size, size]`, or `None`.
        accelerator: Device and processes.
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
        """Train an encoder in place, starting where the run stopped."""
        cfg, accelerator = self.settings, self.accelerator
        total = cfg.steps + cfg.picture_steps
        body = list(encoder.body.parameters())
        body_ids = {id(p) for p in body}
        head = [p for p in encoder.parameters() if id(p) not in body_ids]
        for p in body:
            p.requires_grad_(cfg.body_rate > 0)
        shares = [(head, 1.0)] + [(body, cfg.body_rate)] * (cfg.body_rate > 0)
        optimizer = torch.optim.Adam([{"params": part, "share": share} for part, share in shares], fused=True)
        first, seconds = 0, 0.0
        if state := self.checkpoint.read():
            first, seconds = int(state["step"]), state["seconds"].item()
            encoder.load_state_dict({name: state[f"encoder.{name}"] for name in encoder.state_dict()})
            restore_adam(optimizer, state)
        if accelerator.is_main_process:
            self._forget_after(first)
        network = accelerator.prepare(encoder) if accelerator.num_processes > 1 else encoder
        start, running = time.monotonic() - seconds, Running()
        bar = tqdm(total=total, initial=first, desc="teach", disable=not accelerator.is_local_main_process)
        for step in range(first, total + 1):
            if (step % self.checkpoint.every == 0 or step == total) and not 0 < step == first:
                seconds = time.monotonic() - start
                if accelerator.is_main_process:
                    self._report(encoder, step, seconds, running)
                    if step:
                        weights = {f"encoder.{name}": t for name, t in encoder.state_dict().items()}
                        progress = {"step": torch.tensor(step), "seconds": torch.tensor(seconds, dtype=torch.float64)}
                        self.checkpoint.write({**progress, **weights, **adam_state(optimizer)})
                running = Running()
            if step == total:
                break
            if step == cfg.steps:
                # Adam's moments of the old loss would make the first steps with the new loss far too large.
                optimizer.state.clear()
            peak, t = cfg.learning_rate, step / max(1, cfg.steps)
            if step >= cfg.steps:
                peak, t = cfg.picture_rate, (step - cfg.steps) / cfg.picture_steps
            for group in optimizer.param_groups:
                group["lr"] = peak * group["share"] * learning_rate_factor(t, 0.05, 0.5)
            losses = self._step(network, step)
            # The gradient of a picture is sometimes many times larger than the gradients of the others.
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            running.add(losses)
            bar.update()
        bar.close()

    def _step(self, network: Any, step: int) -> dict[str, Tensor]:
        """Compute the gradients of one batch; returns the losses by name."""
        cfg, rank, processes = self.settings, self.accelerator.process_index, self.accelerator.num_processes
        share, steps_per_epoch = cfg.batch_size // processes, len(self.data) // cfg.batch_size
        epoch, batch = divmod(step, steps_per_epoch)
        order = torch.randperm(len(self.data), generator=torch.Generator().manual_seed(cfg.seed * 10**6 + epoch))
        start = batch * cfg.batch_size + rank * share
        w, pictures = self.data.read(order[start : start + share].tolist())
        random = torch.Generator(self.device).manual_seed((cfg.seed * 10**9 + step) * 1000 + rank)
        compared = math.ceil(cfg.picture_share * share) if step >= cfg.steps else 0
        if self.real is not None and compared:
            chosen = torch.randint(len(self.real), (math.ceil(compared / 4),), generator=random, device=self.device)
            pictures = torch.cat([self.real[chosen.cpu()], pictures])
            compared += len(chosen)
        clean = to_floats(pictures.to(self.device))
        inputs = shrunk(degraded(clean, random), cfg.resolution)
        with mixed_precision(self.device):
            encoded = network(inputs)  # ŵ [B, w_dim], or [B, num_ws, w_dim] in W+
        # 1. ‖ŵ − w‖² of samples; real photographs have no w.
        losses = {"w": w_error(encoded[-share:], w.to(self.device), self.generator)}
        loss = losses["w"]
        if encoded.ndim == 3:
            offsets = encoded - encoded.mean(1, keepdim=True)
            losses["offsets"] = cfg.offset_weight * w_error(offsets, torch.zeros_like(offsets), self.generator)
            loss = loss + losses["offsets"]
        # 2. L(x, G(ŵ)), a few pictures at a time: gradients are collected at ŵ, then propagated to the encoder at once.
        if compared:
            codes, few = encoded[:compared].detach().requires_grad_(), at_once(self.device)
            for part, x in zip(codes.split(few), shrunk(clean[:compared], cfg.picture_size).split(few), strict=True):
                with mixed_precision(self.device):
                    distances = self._distances(pictured(self.generator, part, cfg.picture_size), x)
                (sum(distances.values(), torch.zeros((), device=self.device)) / compared).backward()
                for name, distance in distances.items():
                    losses[name] = losses.get(name, 0) + distance.detach() / compared
            assert codes.grad is not None
            loss = loss + (encoded[:compared] * codes.grad).sum()
        self.accelerator.backward(loss)
        return {name: value.detach() for name, value in losses.items()}

    def _distances(self, rendered: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Weighted distances between rendered pictures and targets x, summed over the batch, by name."""
        cfg = self.settings
        distances = {
            "lpips": cfg.lpips_weight * self.perceptual(rendered, x).sum(),
            "l2": cfg.l2_weight * (rendered - x).square().mean((1, 2, 3)).sum(),
        }
        if self.identity is not None:
            with torch.no_grad():
                expected = self.identity(x)
            distances["identity"] = cfg.identity_weight * (1 - (self.identity(rendered) * expected).sum(1)).sum()
        return distances

    @torch.no_grad()
    def _report(self, encoder: LightEncoder, step: int, seconds: float, running: Running) -> None:
        """Add a line to the log: errors on the held-out samples."""
        cfg = self.settings
        encoder.eval()
        w, pictures = (part.to(self.device) for part in self.data.held_out())
        clean = to_floats(pictures)
        random = torch.Generator(self.device).manual_seed(cfg.seed)
        encoded = encoder(shrunk(clean, cfg.resolution))
        from_degraded = torch.cat(
            [encoder(shrunk(degraded(part, random), cfg.resolution)) for part in clean.split(CHUNK)]
        )
        row = {"step": step, "seconds": round(seconds, 1)} | {f"train_{name}": m for name, m in running.means().items()}
        row |= {
            "w": w_error(encoded, w, self.generator).item(),
            "w_degraded": w_error(from_degraded, w, self.generator).item(),
        }
        # The first line holds the baseline: the LPIPS of the mean latent.
        name, judged = "lpips", encoded[:JUDGED]
        if step == 0:
            name, judged = "lpips_mean_latent", self.generator.w_avg[None].expand(JUDGED, -1)
        few, targets = at_once(self.device), shrunk(clean[:JUDGED], cfg.picture_size)
        distances = [
            self.perceptual(pictured(self.generator, part, cfg.picture_size), x)
            for part, x in zip(judged.split(few), targets.split(few), strict=True)
        ]
        row[name] = torch.cat(distances).mean().item()
        encoder.train()
        append_row(self.log, {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()})
        tqdm.write("  ".join(f"{k} {v:.4g}" for k, v in row.items()))

    def _forget_after(self, step: int) -> None:
        """Drop lines of the log about steps that will be repeated."""
        if self.log.is_file():
            replace_rows(self.log, [row for row in read_rows(self.log) if 0 < step >= row["step"]])


class Running:
    """Means of losses over several steps, computed without synchronising the device at each step."""

    def __init__(self) -> None:
        self.sums: dict[str, list[Tensor]] = {}

    def add(self, losses: dict[str, Tensor]) -> None:
        """Add the losses of one step."""
        for name, value in losses.items():
            self.sums.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        """The means, by name."""
        return {name: torch.stack(values).mean().item() for name, values in self.sums.items()}


def w_error(encoded: Tensor, w: Tensor, generator: Generator) -> Tensor:
    """Mean of ‖ŵ − w‖² divided by W's variance: 0 for a perfect encoder, E[ψ²] for one that returns the mean of W."""
    return (encoded - w).square().sum(-1).mean() / generator.w_std.square()
