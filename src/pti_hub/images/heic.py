"""HEIC, the format of many telephones, which Pillow reads and writes with the help of pillow-heif."""

from __future__ import annotations

from pathlib import Path

from pti_hub.errors import MissingDependencyError

HEIC_SUFFIXES = (".heic", ".heif")
"""Suffixes of HEIC files, in lower case."""

_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")


def is_heic(path: Path) -> bool:
    """Whether a file begins as HEIC files do, whatever the suffix."""
    with path.open("rb") as file:
        header = file.read(64)
    # The size of the first box, its type, and the names of the formats that the file follows.
    return header[4:8] == b"ftyp" and any(brand in header[8 : int.from_bytes(header[:4], "big")] for brand in _BRANDS)


def support_heic(path: Path) -> None:
    """Make Pillow able to read and write HEIC.

    Args:
        path: The file in question, for the message.

    Raises:
        MissingDependencyError: pillow-heif is not installed.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingDependencyError(
            f"{str(path)!r} is HEIC, which needs pillow-heif; run: pip install 'pti-hub[heic]', or use JPEG"
        ) from error
    pillow_heif.register_heif_opener()
