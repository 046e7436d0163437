"""Writing pictures and animations to files, completely or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from pti_hub.errors import ImageError, MissingDependencyError
from pti_hub.images.heic import HEIC_SUFFIXES, support_heic
from pti_hub.images.tensors import require_rgb
from pti_hub.logging import get_logger
from pti_hub.storage import replaced_file

STILL = {
    **{".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"},
    **{".bmp": "BMP", **dict.fromkeys(HEIC_SUFFIXES, "HEIF")},
}
"""File formats of pictures, by suffix."""

ANIMATED = {".gif": "GIF", ".mp4": "MP4"}
"""File formats of animations, by suffix."""

_LONGEST_EXIF = 65_500
"""Longest EXIF data, in bytes, that fits into a JPEG file."""

_LANCZOS = Image.Resampling.LANCZOS


def save_image(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a picture; the path always holds either the old file or the complete new one.

    Args:
        image: A picture of mode RGB; what `image.info` holds of a photograph's file is written too, see
            `pti_hub.images.Photograph`.
        path: File to write; the suffix, of `STILL`, chooses the format. JPEG is written with the photograph's own
            quantisation tables, or else at quality 95, as are WebP and HEIC.

    Raises:
        ImageError: The picture is not RGB, the suffix is not supported, or the folder doesn't exist.
        MissingDependencyError: The suffix is one of HEIC, and pillow-heif is not installed.
    """
    check_suffix(path, STILL)
    content = encode_image(image, Path(path).suffix)
    with _replaced_picture(Path(path)) as partial:
        partial.write_bytes(content)


def encode_image(image: Image.Image, suffix: str) -> bytes:
    """The content of the file that `save_image` writes.

    Args:
        image: As in `save_image`.
        suffix: A suffix of `STILL`.

    Raises:
        ImageError: The picture is not RGB, or the suffix is not supported.
        MissingDependencyError: The suffix is one of HEIC, and pillow-heif is not installed.
    """
    require_rgb(image)
    suffix = f".{suffix.lstrip('.')}"
    file_format = check_suffix(f"picture{suffix}", STILL)
    if file_format == "HEIF":
        support_heic(Path(f"picture{suffix}"))
    options = _options(image, file_format)
    if image.info.get("grey"):
        image = image.convert("L")
    content = io.BytesIO()
    try:
        image.save(content, format=file_format, **options)
    except OSError:
        if not options.get("progressive"):
            raise
        # Pillow's buffer is too small for some progressive files.
        content = io.BytesIO()
        image.save(content, format=file_format, **(options | {"progressive": False}))
    return content.getvalue()


def side_by_side(images: Sequence[Image.Image], height: int = 256) -> Image.Image:
    """Join pictures in a row.

    Args:
        images: At least one picture of mode RGB.
        height: Height of the row, in pixels.

    Returns:
        A picture of mode RGB.

    Raises:
        ImageError: `images` is empty.
    """
    if not images:
        raise ImageError("no pictures were given; give at least one")
    tiles = [image.resize((round(image.width * height / image.height), height), _LANCZOS) for image in images]
    row = Image.new("RGB", (sum(tile.width for tile in tiles), height), "white")
    x = 0
    for tile in tiles:
        row.paste(tile, (x, 0))
        x += tile.width
    return row


def save_animation(
    images: Sequence[Image.Image], path: str | os.PathLike[str], frames_per_second: float = 12.0, height: int = 512
) -> None:
    """Write an animation; the path always holds either the old file or the complete new one.

    Args:
        images: Frames of mode RGB, all of one size.
        path: File to write: `.gif`, which repeats endlessly, or `.mp4` (H.264).
        frames_per_second: Frame rate, 1 to 50.
        height: Height of the written frames in pixels; even, 2 to 4096.

    Raises:
        ImageError: There are no frames or their sizes differ; the frame rate, height or suffix is invalid; or the
            folder doesn't exist.
        MissingDependencyError: The path is an `.mp4`, and PyAV is not installed.
    """
    if not images or len({image.size for image in images}) != 1:
        raise ImageError(f"{len(images)} frames of sizes {sorted({i.size for i in images})}; give frames of one size")
    if not 1 <= frames_per_second <= 50:
        raise ImageError(f"frames_per_second={frames_per_second!r}; expected 1 to 50")
    if not 2 <= height <= 4096 or height % 2:
        raise ImageError(f"height={height!r}; expected an even number of pixels, 2 to 4096")
    suffix = check_suffix(path, ANIMATED)
    width = round(images[0].width * height / images[0].height / 2) * 2
    frames = [image.resize((width, height), _LANCZOS) for image in images]
    with _replaced_picture(Path(path)) as partial:
        if suffix == "GIF":
            frames[0].save(
                partial,
                format="GIF",
                save_all=True,
                append_images=frames[1:],
                duration=round(1000 / frames_per_second),
                loop=0,
            )
        else:
            _write_mp4(frames, partial, frames_per_second)


def check_suffix(path: str | os.PathLike[str], formats: Mapping[str, str]) -> str:
    """Choose the file format by a path's suffix.

    Args:
        path: Path of the file to write.
        formats: File formats by suffix.

    Returns:
        The format.

    Raises:
        ImageError: The suffix is not among `formats`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in formats:
        raise ImageError(f"can't infer a picture format from {str(path)!r}; end it in {', '.join(formats)}")
    return formats[suffix]


def import_av() -> Any:
    """Import PyAV, the module `av`.

    Raises:
        MissingDependencyError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError("MP4 needs PyAV; run: pip install 'pti-hub[video]', or write a .gif") from error
    return av


def _options(image: Image.Image, file_format: str) -> dict[str, Any]:
    """Options with which Pillow writes a picture as the photograph that it comes from."""
    if file_format == "BMP":
        return {}
    info = image.info
    options: dict[str, Any] = {key: info[key] for key in ("icc_profile", "exif", "dpi") if key in info}
    if file_format == "JPEG" and len(options.get("exif", b"")) > _LONGEST_EXIF:
        get_logger(__name__).warning("EXIF data of %d bytes is too long for a JPEG file", len(options.pop("exif")))
    if file_format == "JPEG" and "qtables" in info:
        return options | {key: info[key] for key in ("qtables", "subsampling", "progressive") if key in info}
    if file_format == "TIFF":
        # Pillow can't write EXIF data into compressed files.
        return options if "exif" in options else options | {"compression": "tiff_lzw"}
    return options if file_format == "PNG" else options | {"quality": 95}


def _write_mp4(frames: Sequence[Image.Image], path: Path, frames_per_second: float) -> None:
    av = import_av()
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=round(frames_per_second))
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"  # the pixel format that every player supports
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())


@contextmanager
def _replaced_picture(path: Path) -> Iterator[Path]:
    if not path.parent.is_dir():
        raise ImageError(f"can't write {str(path)!r}: the folder {str(path.parent)!r} doesn't exist")
    with replaced_file(path) as partial:
        yield partial
