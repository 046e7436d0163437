"""Photographs to evaluate on, from a folder or streamed from a data set on the Hub."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from PIL import Image

from pti_hub.errors import InputError, MissingDependencyError, one_line
from pti_hub.images import load_image

CELEBA_HQ = "mattymchen/celeba-hq"


@dataclass(frozen=True)
class Photograph:
    """A photograph of a data set.

    Attributes:
        name: Path below the folder, file name, or number; identifies the photograph in the results.
        image: The picture; `None` if it can't be read.
        problem: Why the picture can't be read, else `None`.
    """

    name: str
    image: Image.Image | None
    problem: str | None = None


def open_photographs(
    source: str | Path = CELEBA_HQ, count: int | None = None, split: str = "train", column: str | None = None
) -> Iterator[Photograph]:
    """Read the first photographs of a data set in order; only these are downloaded.

    Args:
        source: A folder of pictures, or a data set on the Hub.
        count: Number of photographs; all by default.
        split: Split of a data set on the Hub.
        column: Column of the pictures; by default the only column that holds pictures.

    Yields:
        Photographs; for a picture that can't be read, the photograph holds the reason instead.

    Raises:
        InputError: There is no such data set, it is empty, or it has no column of pictures.
        MissingDependencyError: The package `datasets` is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError(
            "evaluation needs the package datasets; install it: pip install 'pti-hub[evaluation]'"
        ) from error
    folder = Path(source)
    try:
        if folder.is_dir():
            # The loader of `datasets` would take words in names, such as test, for splits, and brackets for patterns.
            suffixes = Image.registered_extensions()
            paths = sorted(str(p) for p in folder.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
            pictures = datasets.Features({"image": datasets.Image(decode=False)})
            rows = datasets.Dataset.from_dict({"image": paths}, pictures).to_iterable_dataset()
        else:
            rows = datasets.load_dataset(str(source), split=split, streaming=True)
        columns = dict(rows.features or {})
    # The readers of data sets can raise nearly anything.
    except Exception as error:
        raise InputError(
            f"{source} can't be read ({one_line(error)}); give a folder of pictures or a data set's id"
        ) from error
    picture_columns = [name for name, feature in columns.items() if isinstance(feature, datasets.Image)]
    if column is None and len(picture_columns) == 1:
        column = picture_columns[0]
    if column not in picture_columns:
        raise InputError(
            f"{source} has the columns {', '.join(columns) or 'none'}, of which "
            f"{', '.join(picture_columns) or 'none'} hold pictures; {column!r} was asked for"
            if column is not None
            else f"{source} has the columns {', '.join(columns) or 'none'}; choose one of pictures with --column"
        )
    assert column is not None
    # Undecoded, so that one damaged file does not end the run.
    rows = rows.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    names: set[str] = set()
    for i, row in enumerate(_reading(rows if count is None else rows.take(count), source)):
        name = _name((row[column] or {}).get("path"), folder)
        # Several pictures of a data set may have the same name.
        name = f"{i:06d}{name and '-'}{name}" if not name or name in names else name
        names.add(name)
        yield _photograph(name, row[column])
    if not names:
        raise InputError(f"{source} is empty; expected pictures")


def _reading(rows: Iterable[dict[str, Any]], source: str | Path) -> Iterator[dict[str, Any]]:
    """The rows; an error on the way becomes one line."""
    try:
        yield from rows
    except Exception as error:
        raise InputError(f"{source} can't be read any further ({one_line(error)}); the same call resumes") from error


def _name(path: str | None, folder: Path) -> str:
    if path is None:
        return ""
    # The address of a file in an archive is FILE::ARCHIVE.
    path = path.partition("::")[0]
    try:
        name = Path(path).resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        name = Path(path).name
    # A file name need not be valid text.
    return name.encode("utf-8", "backslashreplace").decode()


def _photograph(name: str, entry: Any) -> Photograph:
    data, path = (entry or {}).get("bytes"), (entry or {}).get("path")
    try:
        if data is None and path is not None and "://" in path:
            with fsspec.open(path, "rb") as file:
                data = file.read()
        if data is not None:
            with Image.open(io.BytesIO(data)) as image:
                return Photograph(name, load_image(image))
        if path is not None:
            return Photograph(name, load_image(path))
    # Pillow's readers and remote file systems can raise nearly anything.
    except Exception as error:
        return Photograph(name, None, one_line(error))
    return Photograph(name, None, "no picture in this row")
