"""A photograph in the colours of its file, and in sRGB; what has to be kept when an edited photograph is written."""

from __future__ import annotations

import functools
import io
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile, get_sampling
from PIL.TiffImagePlugin import TiffImageFile

from pti_hub.logging import get_logger
from pti_hub.storage import picture_digest

_RGB_MODES = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA")
"""Modes whose colours a profile of RGB colours describes."""

_TIFF_TAGS = ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "Copyright")
"""Tags of TIFF files that describe the photograph; others describe the file."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph, upright.

    Attributes:
        picture: The photograph in sRGB, mode RGB, as networks see it.
        native: The photograph in the colours of its file, mode RGB; `picture` itself if the file is in sRGB.
        info: What `save_image` writes beside the pixels: `"icc_profile"`, `"exif"` (without orientation and without the
            preview, which would show the unedited photograph), `"dpi"`; `"qtables"`, `"subsampling"` and
            `"progressive"` of a JPEG file; `"grey"`, whether the file is to be in shades of grey.
    """

    picture: Image.Image
    native: Image.Image
    info: Mapping[str, Any] = field(default_factory=lambda: types.MappingProxyType({}))

    def __reduce__(self) -> tuple[Any, ...]:
        # For other processes: a read-only mapping can't be pickled.
        return _photograph, (self.picture, self.native, dict(self.info))

    @functools.cached_property
    def digest(self) -> str:
        """Digest of the pixels of `native`, by which the photograph is known again."""
        return picture_digest(self.native)

    def with_edit(self, edited: Image.Image) -> Image.Image:
        """The photograph after an edit, in the colours of its file, with `info`.

        Args:
            edited: `picture` after the edit, mode RGB.

        Returns:
            A new picture of mode RGB; it equals `native`, bit for bit, where `edited` equals `picture`.
        """
        result = edited.copy() if self.native is self.picture else self._to_native(edited)
        result.info.update(self.info)
        return result

    def _to_native(self, edited: Image.Image) -> Image.Image:
        before, after = np.asarray(self.picture), np.asarray(edited)
        changed = (before != after).any(2)
        result = np.array(self.native)
        if changed.any():
            rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
            part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
            back = _transform(self.info["icc_profile"], False)
            old, new = (
                np.asarray(back.apply(Image.fromarray(pixels[part].copy()))).astype(np.int16)
                for pixels in (before, after)
            )
            # Only the edit's difference is converted, so that rounding errors of the conversion stay out.
            values = np.clip(result[part] + (new - old), 0, 255).astype(np.uint8)
            result[part] = np.where(changed[part][..., None], values, result[part])
        return Image.fromarray(result)


def _photograph(picture: Image.Image, native: Image.Image, info: Mapping[str, Any]) -> Photograph:
    return Photograph(picture, native, types.MappingProxyType(dict(info)))


def photograph_from(image: Image.Image, rgb: Image.Image, file: Image.Image) -> Photograph:
    """Bring a picture to sRGB and keep what its file says beside the pixels.

    Args:
        image: The picture upright, in its own mode.
        rgb: The picture in mode RGB, in the colours of its file.
        file: The picture as it was opened.
    """
    info: dict[str, Any] = {}
    profile, native, picture = image.info.get("icc_profile"), rgb, rgb
    if image.mode in _RGB_MODES and profile:
        picture = _to_srgb(rgb, profile)
        if picture is rgb or _is_reversible(profile):
            info["icc_profile"] = profile
        else:
            native = picture
    elif image.mode == "L":
        info |= {"grey": True, **({"icc_profile": profile} if profile else {})}
    if exif := _exif(image, file):
        info["exif"] = exif
    if "dpi" in image.info:
        info["dpi"] = image.info["dpi"]
    if isinstance(file, JpegImageFile) and image.mode in ("RGB", "L"):
        if sorted(file.quantization) == list(range(len(file.quantization))):
            info["qtables"] = {key: list(table) for key, table in file.quantization.items()}
        info["progressive"] = bool(file.info.get("progressive"))
        if (subsampling := get_sampling(file)) >= 0:
            info["subsampling"] = subsampling
    return Photograph(picture, native, types.MappingProxyType(info))


def cmyk_to_srgb(image: Image.Image) -> Image.Image:
    """A CMYK picture in mode RGB, by its profile if it has a usable one."""
    if profile := image.info.get("icc_profile"):
        return _to_srgb(image, profile)
    return image


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert by a profile; without a usable one, and from sRGB itself, return the picture unchanged."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        # Converting sRGB to itself would only add rounding errors.
        if "sRGB" in ImageCms.getProfileDescription(opened):
            return image
        if image.mode == "RGB":
            return _transform(profile, True).apply(image)
        converted = ImageCms.profileToProfile(image, opened, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image  # A picture with a damaged profile is as readable as one without a profile.
    return converted if converted is not None else image


@functools.lru_cache(maxsize=8)
def _transform(profile: bytes, to_srgb: bool) -> ImageCms.ImageCmsTransform:
    """The conversion between a profile's colours and sRGB, mode RGB."""
    own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    source, target = (own, srgb) if to_srgb else (srgb, own)
    return ImageCms.buildTransform(source, target, "RGB", "RGB")


def _is_reversible(profile: bytes) -> bool:
    """Whether sRGB can be converted to a profile's colours: the profiles of some cameras go one way only."""
    try:
        _transform(profile, False)
    except (ImageCms.PyCMSError, OSError):
        return False
    return True


def _exif(image: Image.Image, file: Image.Image) -> bytes | None:
    """EXIF data of an upright picture without its orientation and its preview; `None` if there is none."""
    try:
        exif = _tiff_exif(file) if isinstance(file, TiffImageFile) else image.getexif()
        exif.pop(ExifTags.Base.Orientation, None)
        # `tobytes` leaves the preview, in a directory of its own, out.
        return exif.tobytes() if len(exif) else None
    except Exception as error:  # Cameras write nearly anything.
        get_logger(__name__).warning("EXIF data is damaged and will be missing in the edited photograph: %s", error)
        return None


def _tiff_exif(file: TiffImageFile) -> Image.Exif:
    """EXIF data of a TIFF file, whose tags also say how its pixels are stored."""
    tags, kept = file.getexif(), Image.Exif()
    for name in _TIFF_TAGS:
        if (value := tags.get(ExifTags.Base[name])) is not None:
            kept[ExifTags.Base[name]] = value
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if values := tags.get_ifd(directory):
            kept[directory] = dict(values)
    return kept
