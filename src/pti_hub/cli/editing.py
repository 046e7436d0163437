"""Commands about photographs: edit, faces."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from tqdm.auto import tqdm

from pti_hub.cli.app import (
    Align,
    Device,
    Edits,
    Model,
    Preset,
    Seed,
    TextModel,
    add_edits,
    app,
    format_metrics,
    picture_suffix,
)
from pti_hub.errors import InputError, one_line
from pti_hub.faces import FaceAnalyzer, choose, draw_numbers
from pti_hub.images import PICTURE_SUFFIXES, find_pictures, load_image, save_image
from pti_hub.logging import get_logger
from pti_hub.personalization import CONFIG_NAME, Personalization
from pti_hub.pipelines import DEFAULT_CHECKPOINT, PTIPipeline
from pti_hub.pipelines.output import PTIOutput
from pti_hub.storage import as_save_error

_LONGEST_NAME = 200
"""Longest name of a file, in bytes, without the suffix; most file systems allow 255 bytes in all."""

_OF_A_FACE = re.compile(r"(?P<number>\d{1,3}):(?P<edit>.+)")


@dataclass(frozen=True)
class _Job:
    """What is done to every photograph.

    Attributes:
        pipe: The pipeline.
        edits: The edits as they were typed.
        out: Folder for the results.
        face: Numbers of faces, or `"all"`; by default the only face, or those that the edits have numbers for.
        align: As in `PTIPipeline.__call__`.
        seed: Seed of everything random.
    """

    pipe: PTIPipeline
    edits: Sequence[str]
    out: Path
    face: list[int] | Literal["all"] | None
    align: Any
    seed: int


@app.command()
def edit(
    photo: Annotated[
        Path, typer.Argument(help="A photograph, a folder of photographs, or the folder of a saved personalisation.")
    ],
    edits: Annotated[
        list[str] | None,
        typer.Option("--edit", "-e", help="NAME or NAME=STRENGTH; FACE:NAME for one face. Applied in order."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the edited photographs.")] = Path("outputs"),
    photograph: Annotated[
        Path | None, typer.Option(help="Photograph to put the edit into, if PHOTO is a personalisation.")
    ] = None,
    model: Model = DEFAULT_CHECKPOINT,
    preset: Preset = None,
    face: Annotated[
        str | None,
        typer.Option(help="Faces to edit, numbered from 0 from left to right: 1, or 0,2, or all."),
    ] = None,
    align: Align = True,
    seed: Seed = 0,
    more_edits: Edits = None,
    text_model: TextModel = None,
    device: Device = None,
) -> None:
    """Invert photographs, tune the generator to each face, and edit the photographs.

    The edited photograph has the original's size, format, colour profile and EXIF data, and is named after it, the
    chosen faces and the edits: outputs/photo_smile_age-2.jpg. outputs/photo/0 holds the personalisation of face 0 and
    pictures of the face alone. What was tuned there is not tuned again, so the next edit takes seconds, and the same
    command resumes after a kill.

    In a folder of photographs all faces are edited unless --face says otherwise.

    An edit is a name, or a name and an amount: smile, age=-2, pose=5deg (degrees of head rotation). Besides the edits
    that pti-hub info lists, there are words ("a person with a beard", text:beard), GANSpace's components (pc3), SeFa's
    directions (sefa2), the style of an identity or of a random face (mix:NAME, mix:seed42), any of these limited to
    some layers (smile_layers4-7), and single style channels (s:9_409=5: layer 9, channel 409, 5 standard deviations).
    """
    chosen = _parse_faces(face)
    pipe = PTIPipeline.from_pretrained(model, preset=preset, device=device)
    add_edits(pipe, more_edits, text_model)
    person = Personalization.from_pretrained(photo) if (photo / CONFIG_NAME).is_file() else None
    # Report invalid edits before the long work.
    texts = [match["edit"] if (match := _OF_A_FACE.fullmatch(edit)) else edit for edit in edits or []]
    pipe.parse(texts, [] if person is None else [person])
    job = _Job(pipe, edits or [], out, chosen, "auto" if align else False, seed)
    if person is not None and face is not None:
        raise InputError(f"--face is for photographs; for identities of {photo} give --edit 0:smile, counted from 0")
    if person is not None:
        _edit_person(job, person, photograph)
    elif photograph is not None:
        raise InputError(f"--photograph is for personalisations; {photo} is none")
    elif photo.is_dir():
        _edit_folder(job, photo)
    else:
        _edit_photograph(job, photo, photo.stem)


@app.command()
def faces(
    photo: Annotated[Path, typer.Argument(help="A photograph.")],
    out: Annotated[
        Path | None, typer.Option(help="Picture to write; outputs/PHOTO_faces with the photograph's suffix by default.")
    ] = None,
) -> None:
    """Find the faces in a photograph, and draw on it the numbers that edit --face takes."""
    path = out or Path("outputs") / f"{photo.stem}_faces{picture_suffix(photo)}"
    picture = load_image(photo)
    found = FaceAnalyzer().detect(picture)
    choose(found, "all")
    for i, face in enumerate(found):
        left, top, right, bottom = face.box
        typer.echo(f"{i}: {right - left}×{bottom - top} px at ({left}, {top})")
    if out is None:
        with as_save_error(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
    save_image(draw_numbers(picture, found), path)
    typer.echo(f"{path}")


def _edit_photograph(job: _Job, photo: Path, name: str) -> None:
    """Edit one photograph; the folder called `name` in the job's folder holds what was learned."""
    edits = _by_face(job.edits)
    numbers = job.face or (sorted(int(key) for key in edits) if isinstance(edits, dict) else None)
    folder = job.out / name
    path = job.out / _edited_name(photo, job.edits, job.face)
    if path.resolve() == photo.resolve():
        raise InputError(f"{path} is the photograph itself; give another --out")
    # The only face of a photograph has the folder that it would have if it were chosen.
    run = folder / "0" if numbers is None else folder
    result = job.pipe(photo, edits, align=job.align, face=numbers, seed=job.seed, run_folder=run)
    if job.edits:
        save_image(result.photographs[0], path)
        tqdm.write(f"{path}")
    shown = numbers if isinstance(numbers, list) else range(len(result.images))
    for i, place in enumerate(folder / str(number) for number in shown):
        _save_face(result, i, place, "", bool(job.edits))
        save_image(result.aligned[i], place / "aligned.png")
        save_image(result.projection[i], place / "projection.png")
        tqdm.write(f"{place}: {format_metrics(result.metrics[i])}")


def _edit_folder(job: _Job, folder: Path) -> None:
    """Edit every photograph of a folder; one that fails does not end the run."""
    photos = find_pictures(folder)
    if not photos:
        expected = ", ".join(PICTURE_SUFFIXES)
        raise InputError(f"{folder} holds no personalisation and no picture; expected files that end in {expected}")
    if job.out.resolve() == folder.resolve():
        raise InputError(f"--out {job.out} is the folder of the photographs; give another one")
    if job.face is None and not isinstance(_by_face(job.edits), dict):
        job = dataclasses.replace(job, face="all")
    failed = 0
    job.pipe.set_progress_bar_config(leave=False, position=1)
    for photo, name in tqdm(list(zip(photos, _folder_names(photos), strict=True)), desc="photographs"):
        try:
            _edit_photograph(job, photo, name)
        except Exception as error:
            failed += 1
            tqdm.write(f"{photo}: {one_line(error)}", file=sys.stderr)
            get_logger(__name__).debug("the error of %s", photo, exc_info=True)
    if failed:
        raise InputError(f"{failed} of {len(photos)} photographs failed, see above; the others are in {job.out}/")


def _edit_person(job: _Job, person: Personalization, photograph: Path | None) -> None:
    """Edit identities that were tuned before, in their photograph if it is given."""
    result = job.pipe(person, _by_face(job.edits), photograph=photograph)
    with as_save_error(job.out):
        job.out.mkdir(parents=True, exist_ok=True)
    if photograph is not None and job.edits:
        path = job.out / _edited_name(photograph, job.edits)
        save_image(result.photographs[0], path)
        typer.echo(f"{path}")
    count = len(result.images)
    for i in range(count):
        _save_face(result, i, job.out, f"_{i}" if count > 1 else "", bool(job.edits))
    for name in person.pivots:
        typer.echo(f"{name}: {format_metrics(person.metrics.get(name, {}))}; pictures in {job.out}/")


def _save_face(result: PTIOutput, i: int, folder: Path, number: str, is_edited: bool) -> None:
    """Save the pictures of one face alone."""
    if is_edited:
        save_image(result.images[i], folder / f"edited{number}.png")
    save_image(result.reconstruction[i], folder / f"reconstruction{number}.png")


def _parse_faces(text: str | None) -> list[int] | Literal["all"] | None:
    """`all`, or numbers separated by commas."""
    if text is None or text == "all":
        return None if text is None else "all"
    if not re.fullmatch(r"\d{1,3}(,\d{1,3})*", text):
        raise InputError(f"--face {text}; expected the number of a face, numbers such as 0,2, or all")
    return sorted({int(number) for number in text.split(",")})


def _by_face(edits: Sequence[str]) -> list[str] | dict[int | str, list[str]]:
    """The edits as the pipeline takes them: a list for all faces, or a dict if they begin with numbers of faces."""
    matches = [_OF_A_FACE.fullmatch(edit) for edit in edits]
    if not any(matches):
        return list(edits)
    by_face: dict[int | str, list[str]] = {}
    for edit, match in zip(edits, matches, strict=True):
        if match is None:
            raise InputError(f"--edit {edit} is for no face and others are; begin all with a number, or none")
        by_face.setdefault(int(match["number"]), []).append(match["edit"])
    return by_face


def _edited_name(photo: Path, edits: Sequence[str], faces: list[int] | Literal["all"] | None = None) -> str:
    """`photo_smile_age-2.jpg` for photo.jpg with `smile` and `age=-2`; chosen faces follow the photograph's name."""
    chosen = ["-".join(map(str, faces))] if isinstance(faces, list) else []
    # A name that ends in a digit, such as pc3 or s:9_77, would run into its strength.
    apart = [re.sub(r"(?<=\d)=", "_", edit.replace("=raw:", "raw")).replace("=", "") for edit in edits]
    parts = [re.sub(r"[^\w.+-]+", "-", edit).strip("-") for edit in apart]
    name = "_".join([photo.stem, *chosen, *parts])
    if len(name.encode()) > _LONGEST_NAME:
        digest = hashlib.sha256("\n".join(edits).encode()).hexdigest()[:8]
        name = f"{name.encode()[: _LONGEST_NAME - 9].decode(errors='ignore')}-{digest}"
    return f"{name}{picture_suffix(photo)}"


def _folder_names(photos: Sequence[Path]) -> list[str]:
    """A name for the folder of each photograph: without the suffix, unless two would share it."""
    stems = [photo.stem.casefold() for photo in photos]
    return [p.stem if stems.count(p.stem.casefold()) == 1 else p.name for p in photos]
