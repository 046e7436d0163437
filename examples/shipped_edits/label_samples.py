"""Render and label faces of the default generator, from which attributes and edits are learned.

    pip install 'pti-hub[faces]'
    npm pack @vladmandic/face-api@1.7.15
    python examples/shipped_edits/label_samples.py runs/faces --face-api vladmandic-face-api-1.7.15.tgz

RUN gets the pictures and the labels. What is there is not computed again; 3000 pictures take ten minutes on two cores.
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from face_labels import Labelled, Labeller
from torch import Tensor
from tqdm import tqdm

from pti_hub.checkpoints.openvino import load_mobile_stylegan
from pti_hub.edits.learning import Samples
from pti_hub.storage import replaced_file

CHUNK = 50  # pictures per task, which an interruption loses

Run = Annotated[Path, typer.Argument(help="Folder of the run; results in it are not computed again.")]
FaceApi = Annotated[Path, typer.Option(help="Tarball of @vladmandic/face-api 1.7.15.")]
Workers = Annotated[int, typer.Option(help="Number of processes, of one thread each.", min=1)]

_labeller: Labeller
_samples: Samples


def start(face_api: Path) -> None:
    """Prepare a worker process to label pictures."""
    global _labeller
    torch.set_num_threads(1)
    _labeller = Labeller(face_api)


def _start_sampling(face_api: Path, run: Path, count: int) -> None:
    global _samples
    start(face_api)
    _samples = Samples(load_mobile_stylegan(), count, run)


def _label_chunk(path: Path) -> None:
    first = CHUNK * int(path.stem)
    labelled = _labeller(_samples.pictures(range(first, first + CHUNK)))
    with replaced_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **labelled._asdict())


def label(pictures: Any) -> Labelled:
    """Label pictures in a worker process."""
    return _labeller(pictures)


def pool(face_api: Path, workers: int) -> Any:
    """Worker processes for `label`."""
    return multiprocessing.get_context("spawn").Pool(workers, start, (face_api,))


def read_samples(run: Path) -> tuple[Samples, Labelled]:
    """The samples that were labelled, and their labels.

    Raises:
        typer.BadParameter: There are none.
    """
    paths = sorted((run / "labels").glob("*.npz"))
    if not paths or [int(path.stem) for path in paths] != list(range(len(paths))):
        raise typer.BadParameter(f"{run} holds no complete labels; run examples/shipped_edits/label_samples.py first")
    chunks = [np.load(path) for path in paths]
    labelled = Labelled(*(np.concatenate([chunk[field] for chunk in chunks]) for field in Labelled._fields))
    return Samples(load_mobile_stylegan(), len(labelled.labels), run), labelled


def standardised(labels: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Labels `[N, K]` without outliers, in standard deviations from their mean; these two, `[K]`. NaN stays NaN."""
    clipped = labels.clip(*np.nanpercentile(labels, [0.5, 99.5], axis=0))
    mean, std = np.nanmean(clipped, axis=0), np.nanstd(clipped, axis=0)
    return tuple(torch.from_numpy(np.asarray(part, float)) for part in ((clipped - mean) / std, mean, std))  # type: ignore[return-value]


def main(
    run: Run,
    face_api: FaceApi,
    samples: Annotated[int, typer.Option(help="Number of pictures to render and label.", min=CHUNK)] = 3000,
    workers: Workers = 2,
) -> None:
    """Draw latents, render them, and label the faces."""
    (run / "labels").mkdir(parents=True, exist_ok=True)
    paths = [run / "labels" / f"{i:05d}.npz" for i in range(samples // CHUNK)]
    missing = [path for path in paths if not path.exists()]
    arguments = (face_api, run, samples)
    with multiprocessing.get_context("spawn").Pool(workers, _start_sampling, arguments) as pool_:
        for _ in tqdm(pool_.imap_unordered(_label_chunk, missing), total=len(missing)):
            pass


if __name__ == "__main__":
    typer.run(main)
