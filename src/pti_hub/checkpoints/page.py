"""A person's face with sliders as one HTML file, which a browser renders by itself, without a server or a network."""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pti_hub.checkpoints.draft import Draft
from pti_hub.checkpoints.export import Person, check_place
from pti_hub.checkpoints.onnx import halved, require_onnx, to_onnx
from pti_hub.edits.catalogue import GROUPS
from pti_hub.errors import InputError, MissingDependencyError
from pti_hub.generators import Generator, MobileStyleGAN, broadcast_ws
from pti_hub.storage import write_text

SUFFIX = ".html"

RUNTIME = Path("node_modules") / "onnxruntime-web" / "dist"
"""Where npm puts the runtime below the current folder."""

FIRST = ("smile", "age", "pose", "glasses", "hair_light")
"""Edits that are shown first; the others are one click away."""

# Two builds: one for graphics cards, and one that starts faster and does without.
_RUNTIME_FILES = {
    "gpu-script": "ort.jspi.min.js",
    "gpu-module": "ort-wasm-simd-threaded.jspi.mjs",
    "gpu-wasm": "ort-wasm-simd-threaded.jspi.wasm",
    "cpu-script": "ort.wasm.min.js",
    "cpu-module": "ort-wasm-simd-threaded.mjs",
    "cpu-wasm": "ort-wasm-simd-threaded.wasm",
}
_CHECKED = 8
"""Squares along each side of the picture whose means are compared."""

_FITTED = 16
"""Pictures that the draft is fitted to."""


@dataclass(frozen=True)
class Slider:
    """An edit of one person.

    Attributes:
        name: Name of the edit.
        vector: What one vector adds to a latent, `[w_dim]` or `[num_ws, w_dim]`.
        vectors: How many vectors a strength takes on this face, in ascending order of strengths, with 0 for 0; between
            them lies a straight line.
    """

    name: str
    vector: Tensor
    vectors: Mapping[float, float]


class _Trunk(nn.Module):
    """The first graph: vectors of each edit `[E]` → a draft, and what the second graph goes on with."""

    def __init__(self, generator: MobileStyleGAN, draft: Draft, pivot: Tensor, edits: Tensor) -> None:
        super().__init__()
        self.generator, self.draft = generator, draft
        self.pivot = nn.Parameter(pivot)  # [1, num_ws, w_dim]
        self.edits = nn.Parameter(edits)  # [E, num_ws · w_dim]

    def forward(self, amounts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ws = self.pivot + (amounts @ self.edits).reshape(self.pivot.shape)
        (x,) = self.generator.features(ws, [self.draft.inner])
        return self.draft(x), x, ws


class _Finish(nn.Module):
    """The second graph: the full picture."""

    def __init__(self, generator: MobileStyleGAN) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor, ws: Tensor) -> Tensor:
        return self.generator.finish(x, ws)


def check_page(file: Path, generator: Generator, runtime: Path | None) -> dict[str, Path]:
    """Make sure that a page can be written, before long work.

    Args:
        file: The page.
        generator: The generator.
        runtime: Folder of the runtime; by default `RUNTIME`.

    Returns:
        The runtime's files by what they are.

    Raises:
        InputError: The file can't be written there, or the generator is too slow for a browser.
        MissingDependencyError: The exporter or the runtime is not there.
    """
    check_place(file, (SUFFIX,))
    if not isinstance(generator, MobileStyleGAN):
        kind = type(generator).__name__
        raise InputError(f"a {kind} takes minutes per picture in a browser; export {file.stem}.onnx instead")
    require_onnx()
    folder = RUNTIME if runtime is None else runtime
    found = {what: folder / name for what, name in _RUNTIME_FILES.items()}
    if missing := [path.name for path in found.values() if not path.is_file()]:
        raise MissingDependencyError(
            f"a page needs the runtime onnxruntime-web, and {folder} has no {missing[0]}; run: npm install "
            "onnxruntime-web, here, or name the folder: --runtime SOMEWHERE/node_modules/onnxruntime-web/dist"
        )
    return found


@torch.no_grad()
def write_page(
    file: Path, generator: MobileStyleGAN, person: Person, sliders: Sequence[Slider], runtime: Path | None = None
) -> None:
    """Write a page that shows a person and edits the picture in the browser.

    It holds the tuned weights in half precision, and no photograph. Whoever has it can make pictures of the person.

    Args:
        file: The `.html` file to write.
        generator: The tuned generator, on the CPU in float32.
        person: Whom it was tuned to.
        sliders: The edits; those that don't move this face are left out.
        runtime: Folder with the files of onnxruntime-web; by default `RUNTIME`.

    Raises:
        InputError: As `check_page`, or no edit moves this face.
        MissingDependencyError: As `check_page`.
        SaveError: The disk is full, or the folder is not writable.
    """
    found = check_page(file, generator, runtime)
    sliders = _in_order([slider for slider in sliders if any(slider.vectors.values())])
    if not sliders:
        raise InputError(f"no edit moves {person.name!r}, so a page would have no slider; export .onnx instead")
    pivot = broadcast_ws(generator, person.pivot[None]).contiguous()
    steps = torch.cat([broadcast_ws(generator, s.vector[None]) for s in sliders])
    draft = Draft(generator, _latents(pivot, sliders, steps))
    amounts = torch.zeros(len(sliders))
    trunk = to_onnx(_Trunk(generator, draft, pivot, steps.flatten(1)), {"amounts": amounts}, ["draft", "x", "ws"])
    (x,) = generator.features(pivot, [draft.inner])
    finish = to_onnx(_Finish(generator), {"x": x, "ws": pivot}, ["image"])
    blocks = {what: path.read_bytes() for what, path in found.items()}
    blocks |= {"trunk": halved(trunk).SerializeToString(), "finish": halved(finish).SerializeToString()}
    about = {
        "name": person.name,
        "resolution": generator.resolution,
        # Means of squares of the picture without edits, by which the page finds a runtime that computes nonsense.
        "check": F.adaptive_avg_pool2d(generator.synthesis(pivot).clamp(-1, 1), _CHECKED).flatten().tolist(),
        "edits": [_described(slider) for slider in sliders],
    }
    write_text(file, _filled(person, about, blocks))


def _latents(pivot: Tensor, sliders: Sequence[Slider], steps: Tensor) -> list[Tensor]:
    """The pivot, and some of what the sliders will make of it: one to three edits at once, always the same ones."""
    random = torch.Generator().manual_seed(0)
    latents = [pivot]
    for i in range(_FITTED - 1):
        ws = pivot
        for j in torch.randperm(len(sliders), generator=random)[: 1 + i % 3].tolist():
            least, most = min(sliders[j].vectors.values()), max(sliders[j].vectors.values())
            ws = ws + torch.empty(()).uniform_(least, most, generator=random) * steps[j]
        latents.append(ws)
    return latents


def _group(slider: Slider) -> str:
    groups = {"First": FIRST, **GROUPS}
    return next((title for title, names in groups.items() if slider.name in names), "More")


def _in_order(sliders: Sequence[Slider]) -> list[Slider]:
    order = [name for names in (FIRST, *GROUPS.values()) for name in names]
    return sorted(sliders, key=lambda s: order.index(s.name) if s.name in order else len(order))


def _described(slider: Slider) -> dict[str, object]:
    points = list(slider.vectors.items())
    # A slider ends where the face goes no further: there are no glasses to take off, and no second pair to put on.
    while points[0][0] < 0 and points[0][1] == points[1][1]:
        del points[0]
    while points[-1][0] > 0 and points[-1][1] == points[-2][1]:
        del points[-1]
    return {"name": slider.name, "label": slider.name.replace("_", " "), "group": _group(slider), "points": points}


def _filled(person: Person, about: Mapping[str, object], blocks: Mapping[str, bytes]) -> str:
    """The page with everything it needs inside."""
    parts = {path.name: path.read_text(encoding="utf-8") for path in _templates()}
    texts = {what: base64.b64encode(gzip.compress(content, mtime=0)).decode() for what, content in blocks.items()}
    packed = [f'<script type="text/plain" class="block" id="{what}">{text}</script>' for what, text in texts.items()]
    origins = "".join(
        f"<li>{html.escape(origin.get('part', ''))}: {html.escape(origin.get('origin', ''))}. "
        f"{html.escape(origin.get('licence', ''))}</li>"
        for origin in person.origins
    )
    return Template(parts["page.html"]).substitute(
        name=html.escape(person.name),
        style=parts["page.css"],
        # A name could hold the end of a script.
        about=json.dumps(about).replace("<", "\\u003c"),
        origins=origins,
        worker=parts["page_worker.js"],
        script=parts["page.js"],
        blocks="\n".join(packed),
    )


def _templates() -> list[Path]:
    folder = Path(str(files("pti_hub.checkpoints")))
    return [folder / name for name in ("page.html", "page.css", "page.js", "page_worker.js")]
