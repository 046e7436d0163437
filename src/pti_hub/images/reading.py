"""Reading pictures: files, PIL images, arrays and tensors become 8-bit RGB."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from pti_hub.errors import ImageError, MissingDependencyError
from pti_hub.images.heic import HEIC_SUFFIXES, is_heic, support_heic
from pti_hub.images.photographs import Photograph, cmyk_to_srgb, photograph_from
from pti_hub.images.tensors import to_pil

MAX_PIXELS = 100_000_000
"""Maximum number of pixels of a picture that is read: a file of a few kB can claim any size."""

PICTURE_SUFFIXES = (".bmp", *HEIC_SUFFIXES, ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Suffixes, in lower case, of the files in a folder that are taken for photographs."""

ImageInput: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray | torch.Tensor | Photograph"
"""Types that `load_image` accepts."""

_TENSOR_SLACK = 1e-3

# Other readers of Pillow are for formats that no camera writes, and one of them (EPS) starts another program.
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "TGA", "TIFF", "WEBP")


def load_image(image: ImageInput) -> Image.Image:
    """Read anything that holds one picture.

    The camera's orientation (EXIF) is applied, 16-bit grey is scaled to 8 bits, an embedded colour profile is converted
    to sRGB, transparent pixels are blended with white, and an animated file gives its first frame.

    Args:
        image: A path; a PIL image; a uint8 array [H, W], [H, W, 3] or [H, W, 4]; a floating-point tensor [3, H, W] or
            [1, 3, H, W] in [-1, 1]; or a photograph that was read before.

    Returns:
        A picture of mode RGB, independent of the input.

    Raises:
        ImageError: The file is missing, damaged, not an image or larger than `MAX_PIXELS`; or the array or tensor has
            another shape, type or range.
        MissingDependencyError: The file is HEIC, and pillow-heif is not installed.
    """
    return read_photograph(image).picture


def read_photograph(image: ImageInput) -> Photograph:
    """As `load_image`, with what is needed to write an edited photograph as it came."""
    if isinstance(image, Photograph):
        return image
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


def find_pictures(folder: Path) -> list[Path]:
    """Files in a folder whose suffixes are in `PICTURE_SUFFIXES`, sorted by name; sub-folders are not searched.

    Args:
        folder: The folder.
    """
    # macOS writes ._NAME.jpg beside NAME.jpg where its own attributes have no place.
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def _read_file(path: Path) -> Photograph:
    name = repr(str(path))
    if not path.is_file():
        raise ImageError(f"{name} is a folder, expected a picture" if path.is_dir() else f"no such file: {name}")
    try:
        # Pillow warns above 89 megapixels; `_decode` has its own limit.
        with warnings.catch_warnings():
            if is_heic(path):
                support_heic(path)
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.init()
            with Image.open(path, formats=[known for known in _FORMATS if known in Image.OPEN]) as image:
                return _decode(image, name)
    except (ImageError, MissingDependencyError):
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture in a known format") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} has more pixels than the limit of {MAX_PIXELS:,}; scale it down") from error
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged header.
        raise _unreadable(name, error) from error


def _decode(image: Image.Image, name: str) -> Photograph:
    _check_size(image.width, image.height, name)
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
        return photograph_from(upright, _to_rgb(upright, name), image)
    except ImageError:
        raise
    except Exception as error:  # A damaged file gives OSError, SyntaxError, EOFError, struct.error, ...
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
    elif image.mode == "CMYK":
        image = cmyk_to_srgb(image)
    rgb = image.convert("RGB")
    # Metadata left in place would be applied a second time.
    rgb.info = {}
    return rgb


def _grey_from_16_bits(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"{name} has values from {values.min()} to {values.max()}, expected 0 to 65535; scale them to 8 bits first"
        )
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _from_array(array: np.ndarray) -> Photograph:
    name = f"an array of {array.dtype}, shape {list(array.shape)},"
    if array.dtype != np.uint8:
        raise ImageError(f"{name} is no picture; expected uint8 in 0..255, [H, W, 3] or [H, W]")
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ImageError(f"{name} is no picture; expected [H, W, 3], [H, W, 4] or [H, W]")
    _check_size(array.shape[1], array.shape[0], name)
    return _decode(Image.fromarray(np.ascontiguousarray(array)), name)


def _from_tensor(tensor: torch.Tensor) -> Photograph:
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
    return _decode(to_pil(tensor)[0], name)


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels ({width}×{height})")
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name} has {width}×{height} pixels, more than the limit of {MAX_PIXELS:,}; scale it down")


def _unreadable(name: str, error: Exception) -> ImageError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageError(f"{name} is damaged and can't be read: {reason}")
