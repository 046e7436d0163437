"""The border between pictures and tensors: whatever holds a picture becomes 8-bit RGB here."""

from __future__ import annotations

import io
import os
import secrets
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from pti_hub.errors import ImageError, MissingDependencyError
from pti_hub.files import saving

MAX_PIXELS = 100_000_000
"""Largest picture that is read, in pixels: a file of a few kB can claim to be of any size."""

STILL = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Suffixes of pictures that are written, and their formats."""

ANIMATED = {".gif": "GIF", ".mp4": "MP4"}
"""Suffixes of moving pictures that are written, and their formats."""

ImageInput: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray | torch.Tensor"
"""What `load_image` takes."""

_TENSOR_SLACK = 1e-3
_LANCZOS = Image.Resampling.LANCZOS


def load_image(image: ImageInput) -> Image.Image:
    """Read anything that holds one picture.

    The camera's orientation (EXIF) is applied, 16-bit grey is scaled to 8 bits, an embedded colour
    profile is converted to sRGB, transparency is laid over white, and of an animated file the first
    frame is taken.

    Args:
        image: A file's path; a PIL image; an array of uint8, [H, W], [H, W, 3] or [H, W, 4]; or a
            tensor of floats in [-1, 1], [3, H, W] or [1, 3, H, W].

    Returns:
        A picture of mode RGB, independent of the input.

    Raises:
        ImageError: The file is missing, damaged, not an image or larger than `MAX_PIXELS`; or the
            array or tensor has another shape, type or range.
    """
    if isinstance(image, (str, os.PathLike)):
        return _read_file(Path(image))
    if isinstance(image, Image.Image):
        return _decode(image, "the PIL image")
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, torch.Tensor):
        return _from_tensor(image)
    raise ImageError(
        f"an image can't be a {type(image).__name__}; give a path, a PIL image, "
        "a uint8 array [H, W, 3] or a float tensor [3, H, W] in [-1, 1]"
    )


def to_tensor(image: Image.Image, size: int | None = None) -> torch.Tensor:
    """Picture to tensor.

    Args:
        image: A picture of mode RGB.
        size: Side in pixels to resize a square picture to (Lanczos); `None` keeps it as it is.

    Returns:
        float32 [1, 3, H, W] in [-1, 1], where black is -1 and white 1.

    Raises:
        ImageError: The picture is not RGB, or `size` was given and it is not square.
    """
    _require_rgb(image)
    if size is not None and image.size != (size, size):
        if image.width != image.height:
            raise ImageError(
                f"a picture of {image.width}×{image.height} px can't be resized to {size}×{size} "
                "without distortion; align or crop it to a square first"
            )
        image = image.resize((size, size), _LANCZOS)
    pixels = torch.from_numpy(np.array(image, dtype=np.float32))
    return pixels.permute(2, 0, 1)[None].contiguous() / 127.5 - 1


def to_pil(images: torch.Tensor) -> list[Image.Image]:
    """Tensor to pictures: the inverse of `to_tensor`, exact on its results.

    Args:
        images: Floats [B, 3, H, W]. Values beyond [-1, 1], which generators do give, are clamped.

    Returns:
        B pictures of mode RGB.

    Raises:
        ImageError: Another shape or type, or values that are NaN or infinite.
    """
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        raise ImageError(f"a tensor of shape {list(images.shape)} is no batch of pictures; give [B, 3, H, W]")
    if not images.is_floating_point():
        raise ImageError(f"a tensor of {images.dtype} is no picture; expected floats in [-1, 1]")
    values = images.detach().to("cpu", torch.float32)
    if not bool(torch.isfinite(values).all()):
        raise ImageError("the tensor holds NaN or infinite values; expected floats in [-1, 1]")
    pixels = (values * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
    return [Image.fromarray(p) for p in pixels.permute(0, 2, 3, 1).contiguous().numpy()]


def save_image(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a picture; the path holds the old file or the whole new one, never a part.

    Args:
        image: A picture of mode RGB.
        path: Where to; the suffix `.png`, `.jpg` or `.jpeg` chooses the format. JPEG is written at
            quality 95.

    Raises:
        ImageError: The picture is not RGB, the suffix is another one, or the folder doesn't exist.
    """
    _require_rgb(image)
    file_format = check_suffix(path, STILL)
    with _written_beside(Path(path)) as partial:
        image.save(partial, format=file_format, quality=95)


def side_by_side(images: Sequence[Image.Image], height: int = 256) -> Image.Image:
    """Pictures in a row.

    Args:
        images: At least one, of mode RGB.
        height: Of the row, in pixels.

    Returns:
        A picture of mode RGB.

    Raises:
        ImageError: There is none.
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
    """Write a moving picture; the path holds the old file or the whole new one, never a part.

    Args:
        images: Its frames, of mode RGB and one size.
        path: Where to; `.gif`, which starts over for ever, or `.mp4` (H.264).
        frames_per_second: How fast, 1 to 50.
        height: Of the frames, in pixels, even.

    Raises:
        ImageError: No or unequal frames, another speed, height or suffix, or the folder doesn't exist.
        MissingDependencyError: MP4 without PyAV.
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
    with _written_beside(Path(path)) as partial:
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
    """The format that a file's name asks for.

    Raises:
        ImageError: It is none of them.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in formats:
        raise ImageError(f"can't tell a picture format from {str(path)!r}; end it in {', '.join(formats)}")
    return formats[suffix]


def import_av() -> Any:
    """PyAV.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError("MP4 needs PyAV; run: pip install 'pti-hub[video]', or write a .gif") from error
    return av


def _write_mp4(frames: Sequence[Image.Image], path: Path, frames_per_second: float) -> None:
    av = import_av()
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=round(frames_per_second))
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"  # what every player shows
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())


@contextmanager
def _written_beside(path: Path) -> Iterator[Path]:
    """A place in the same folder, hence the same file system, whose file is renamed once it is complete."""
    if not path.parent.is_dir():
        raise ImageError(f"can't write {str(path)!r}: the folder {str(path.parent)!r} doesn't exist")
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    with saving(path):
        try:
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _read_file(path: Path) -> Image.Image:
    name = repr(str(path))
    if not path.is_file():
        raise ImageError(f"{name} is a folder, expected a picture" if path.is_dir() else f"no such file: {name}")
    try:
        # Pillow warns from 89 megapixels on; `_decode` has a limit of its own.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return _decode(image, name)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture in a known format") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} has more than the {MAX_PIXELS:,} pixels that are read; scale it down") from error
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged header.
        raise _unreadable(name, error) from error


def _decode(image: Image.Image, name: str) -> Image.Image:
    _check_size(image.width, image.height, name)
    try:
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image), name)
    except ImageError:
        raise
    except Exception as error:  # Likewise: a damaged file gives OSError, SyntaxError, EOFError, struct.error, ...
        raise _unreadable(name, error) from error


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "F":
        raise ImageError(f"{name} holds floats of unknown range; scale them to 8 bits first")
    if image.mode.startswith("I"):
        image = _grey_from_16_bits(image, name)
    elif image.has_transparency_data:
        # Premultiplied grey is the one mode Pillow can't turn into RGBA in one step.
        picture = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    elif image.mode in ("RGB", "CMYK") and image.info.get("icc_profile"):
        image = _to_srgb(image)
    rgb = image.convert("RGB")
    # Profile and orientation have been applied; left in place, they would be so a second time.
    rgb.info = {}
    return rgb


def _grey_from_16_bits(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"{name} has values from {values.min()} to {values.max()}, expected 0 to 65535; scale them to 8 bits first"
        )
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _to_srgb(image: Image.Image) -> Image.Image:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        # Converting sRGB to itself would only add rounding errors.
        if "sRGB" in ImageCms.getProfileDescription(profile):
            return image
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, profile, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image  # A damaged profile leaves the pixels as readable as no profile.
    return converted if converted is not None else image


def _from_array(array: np.ndarray) -> Image.Image:
    name = f"an array of {array.dtype}, shape {list(array.shape)},"
    if array.dtype != np.uint8:
        raise ImageError(f"{name} is no picture; expected uint8 in 0..255, [H, W, 3] or [H, W]")
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ImageError(f"{name} is no picture; expected [H, W, 3], [H, W, 4] or [H, W]")
    _check_size(array.shape[1], array.shape[0], name)
    return _to_rgb(Image.fromarray(np.ascontiguousarray(array)), name)


def _from_tensor(tensor: torch.Tensor) -> Image.Image:
    name = f"a tensor of {tensor.dtype}, shape {list(tensor.shape)},"
    if tensor.ndim == 3:
        tensor = tensor[None]
    if tensor.ndim != 4 or tensor.shape[:2] != (1, 3) or not tensor.is_floating_point():
        raise ImageError(f"{name} is no picture; expected floats in [-1, 1], [3, H, W] or [1, 3, H, W]")
    _check_size(tensor.shape[3], tensor.shape[2], name)
    low, high = (float(v) for v in torch.aminmax(tensor.detach().float()))
    # Written so that NaN, which compares false with everything, fails too.
    if not (low >= -1 - _TENSOR_SLACK and high <= 1 + _TENSOR_SLACK):
        raise ImageError(f"{name} has values from {low:g} to {high:g}; expected [-1, 1]; scale it first")
    return to_pil(tensor)[0]


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels ({width}×{height})")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} has {width}×{height} pixels, more than the {MAX_PIXELS:,} that are read; scale it down"
        )


def _require_rgb(image: Image.Image) -> None:
    if image.mode != "RGB":
        raise ImageError(f"a picture of mode {image.mode} was given, expected RGB; use load_image first")


def _unreadable(name: str, error: Exception) -> ImageError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageError(f"{name} is damaged and can't be read: {reason}")
