"""Photographs to evaluate on: a folder, or a data set of the Hub, streamed."""

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
    """One of a data set.

    Attributes:
        name: File name, below the folder, or number, by which it is known again.
        image: The picture; none where it can't be read.
        problem: Why not.
    """

    name: str
    image: Image.Image | None
    problem: str | None = None


def open_photographs(
    source: str | Path = CELEBA_HQ, count: int | None = None, split: str = "train", column: str | None = None
) -> Iterator[Photograph]:
    """The first photographs of a data set, in its order; nothing is downloaded that is not looked at.

    Args:
        source: A folder of pictures, or a data set on the Hub.
        count: How many; all by default.
        split: Of a Hub's data set.
        column: Which holds the pictures; by default the only one that does.

    Yields:
        Photographs; one that can't be read comes with the reason in place of the picture.

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
            # Not by its own loader, which takes words in names, such as test, for splits, and brackets for patterns.
            known = Image.registered_extensions()
            paths = sorted(str(p) for p in folder.rglob("*") if p.suffix.lower() in known and p.is_file())
            pictures = datasets.Features({"image": datasets.Image(decode=False)})
            rows = datasets.Dataset.from_dict({"image": paths}, pictures).to_iterable_dataset()
        else:
            rows = datasets.load_dataset(str(source), split=split, streaming=True)
        columns = dict(rows.features or {})
    # What is wrong with a data set surfaces as whatever its reader raises.
    except Exception as error:
        raise InputError(
            f"{source} can't be read ({one_line(error)}); give a folder of pictures or a data set's id"
        ) from error
    pictured = [name for name, feature in columns.items() if isinstance(feature, datasets.Image)]
    if column is None and len(pictured) == 1:
        column = pictured[0]
    if column not in pictured:
        raise InputError(
            f"{source} has the columns {', '.join(columns) or 'none'}, of which "
            f"{', '.join(pictured) or 'none'} hold pictures; {column!r} was asked for"
            if column is not None
            else f"{source} has the columns {', '.join(columns) or 'none'}; expected one of pictures, or tell which"
        )
    assert column is not None
    # Undecoded, so that one damaged file does not end the run.
    rows = rows.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    names: set[str] = set()
    for i, row in enumerate(_reading(rows if count is None else rows.take(count), source)):
        name = _name((row[column] or {}).get("path"), folder)
        # A data set may call several pictures alike.
        name = f"{i:06d}{name and '-'}{name}" if not name or name in names else name
        names.add(name)
        yield _photograph(name, row[column])
    if not names:
        raise InputError(f"{source} is empty; expected pictures")


def _reading(rows: Iterable[dict[str, Any]], source: str | Path) -> Iterator[dict[str, Any]]:
    """The rows; what goes wrong on the way is one line."""
    try:
        yield from rows
    except Exception as error:
        raise InputError(f"{source} can't be read any further ({one_line(error)}); the same call goes on") from error


def _name(path: str | None, folder: Path) -> str:
    if path is None:
        return ""
    # Of an archive's address what is inside it.
    path = path.partition("::")[0]
    try:
        name = Path(path).resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        name = Path(path).name
    # A file's name need not be text.
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
    # Pillow's readers, and those of the net, raise whatever they like.
    except Exception as error:
        return Photograph(name, None, one_line(error))
    return Photograph(name, None, "no picture in this row")
