"""Whatever holds a picture is read right, or refused in one line."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from support.pictures import pattern, pixel, same

from pti_hub.errors import ImageError
from pti_hub.images import MAX_PIXELS, ImageInput, load_image, to_tensor


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def test_every_kind_of_input_gives_the_same_picture(tmp_path: Path) -> None:
    picture = pattern()
    path = tmp_path / "picture.png"
    picture.save(path)
    tensor = to_tensor(picture)
    inputs: list[ImageInput] = [path, str(path), picture, np.asarray(picture), tensor, tensor[0]]
    assert all(same(load_image(i), picture) for i in inputs)


def test_the_result_is_independent_of_the_input() -> None:
    picture = pattern()
    load_image(picture).putpixel((0, 0), (1, 2, 3))
    assert same(picture, pattern())


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_exif_orientation_is_applied_once(tmp_path: Path, orientation: int, undo: Image.Transpose) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pattern().transpose(undo).save(tmp_path / "turned.png", exif=exif)
    loaded = load_image(tmp_path / "turned.png")
    assert same(loaded, pattern())
    assert same(load_image(loaded), pattern())


@pytest.mark.parametrize("mode", ["I;16", "I"])
def test_16_bit_grey_is_scaled_not_clipped(mode: str, tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 30000, 65406, 65407, 65535]])
    image = Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.int32))
    assert image.mode == mode
    image.save(tmp_path / "grey.tiff")
    expected = [0, 0, 1, 1, 117, 254, 255, 255]
    for given_ in (image, tmp_path / "grey.tiff"):
        assert np.asarray(load_image(given_)).tolist() == [[[v] * 3 for v in expected]]


def test_values_of_unknown_range_are_refused() -> None:
    with pytest.raises(ImageError, match="unknown range"):
        load_image(Image.new("F", (2, 2)))
    with pytest.raises(ImageError, match="70000"):
        load_image(Image.new("I", (2, 2), 70000))
    with pytest.raises(ImageError, match="-1"):
        load_image(Image.new("I", (2, 2), -1))


@pytest.mark.parametrize(
    ("ink", "colour"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 255, 0), (255, 0, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
    ],
)
def test_cmyk_jpeg_which_adobe_stores_inverted(tmp_path: Path, ink: tuple[int, ...], colour: tuple[int, ...]) -> None:
    path = tmp_path / "ink.jpg"
    Image.new("CMYK", (16, 16), ink).save(path, quality=100)
    assert b"Adobe" in path.read_bytes()
    assert np.allclose(pixel(load_image(path)), colour, atol=2)


def test_grey_with_one_bit_or_palette() -> None:
    assert pixel(load_image(Image.new("1", (2, 2), 1))) == (255, 255, 255)
    assert pixel(load_image(Image.new("L", (2, 2), 77))) == (77, 77, 77)
    palette = Image.new("RGB", (2, 2), (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert pixel(load_image(palette)) == (10, 200, 30)


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    half_red = Image.new("RGBA", (2, 2), (255, 0, 0, 51))
    assert pixel(load_image(half_red)) == (255, 204, 204)
    assert pixel(load_image(half_red.convert("RGBa"))) == (255, 204, 204)
    assert pixel(load_image(Image.new("LA", (2, 2), (0, 0)))) == (255, 255, 255)
    assert pixel(load_image(Image.new("LA", (2, 2), (0, 51)).convert("La"))) == (204, 204, 204)
    assert pixel(load_image(np.zeros((2, 2, 4), np.uint8))) == (255, 255, 255)

    Image.new("P", (2, 2), 0).save(tmp_path / "palette.png", transparency=0)
    Image.new("RGB", (2, 2), (9, 9, 9)).save(tmp_path / "key.png", transparency=(9, 9, 9))
    for name in ("palette.png", "key.png"):
        assert pixel(load_image(tmp_path / name)) == (255, 255, 255)


def test_an_opaque_alpha_channel_changes_nothing() -> None:
    assert same(load_image(pattern().convert("RGBA")), pattern())


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert pixel(load_image(tmp_path / "a.gif")) == (255, 0, 0)


def test_a_colour_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # A made-up colour space: sRGB with the primaries red and green exchanged, under another name.
    swapped = srgb.replace(b"rXYZ", b"tmpX").replace(b"gXYZ", b"rXYZ").replace(b"tmpX", b"gXYZ")
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    assert swapped != srgb
    picture = Image.new("RGB", (4, 4), (255, 0, 0))
    for name, profile in {"srgb": srgb, "swapped": swapped, "damaged": swapped[:200]}.items():
        picture.save(tmp_path / f"{name}.png", icc_profile=profile)
    loaded = load_image(tmp_path / "swapped.png")
    assert np.allclose(pixel(loaded), (0, 255, 0), atol=3)
    assert same(load_image(loaded), loaded)
    assert same(load_image(tmp_path / "srgb.png"), picture)
    assert same(load_image(tmp_path / "damaged.png"), picture)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    buffer = io.BytesIO()
    pattern(200, 200).save(buffer, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(buffer.getvalue()[:5000])
    expected = {
        "missing.png": "no such file",
        "text.png": "not a picture",
        "empty.png": "not a picture",
        "cut.jpg": "truncated",
        ".": "is a folder",
    }
    for name, reason in expected.items():
        with pytest.raises(ImageError, match=reason) as caught:
            load_image(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_truncated_pil_image_is_refused_too() -> None:
    buffer = io.BytesIO()
    pattern(200, 200).save(buffer, "JPEG")
    with pytest.raises(ImageError, match="truncated"):
        load_image(Image.open(io.BytesIO(buffer.getvalue()[:5000])))


@pytest.mark.parametrize("size", [(10_001, 10_000), (20_000, 20_000), (1_000_000, 1_000_000)])
def test_too_many_pixels_are_refused_by_the_header(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_claiming(*size))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=f"{MAX_PIXELS:,}"):
            load_image(path)


def test_below_the_limit_pillow_does_not_warn(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png_claiming(10_000, 9_999))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="truncated"):
            load_image(path)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.new("RGB", (0, 5)), "no pixels"),
        (np.zeros((4, 4, 3), np.float32), "float32.*expected uint8"),
        (np.zeros((3, 4, 5), np.uint8), r"\[3, 4, 5\]"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"\[1, 4, 4, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (torch.zeros(4, 4, 3), r"\[4, 4, 3\]"),
        (torch.zeros(2, 3, 4, 4), r"\[2, 3, 4, 4\]"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "uint8.*expected floats"),
        (torch.zeros(3, 0, 4), "no pixels"),
        (torch.full((3, 2, 2), 1.002), r"expected \[-1, 1\]"),
        (torch.full((3, 2, 2), -1.002), r"expected \[-1, 1\]"),
        (torch.tensor([[[0.0, float("nan")]]]).expand(3, 1, 2), "nan"),
        (torch.full((3, 2, 2), float("inf")), "inf"),
        (b"bytes", "bytes"),
        (None, "NoneType"),
    ],
)
def test_unusable_values_are_refused(image: object, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        load_image(image)  # type: ignore[arg-type]


def test_a_tensor_may_exceed_its_range_by_rounding_errors() -> None:
    assert pixel(load_image(torch.full((3, 1, 1), 1.0009))) == (255, 255, 255)
    assert pixel(load_image(torch.full((3, 1, 1), -1.0, dtype=torch.bfloat16))) == (0, 0, 0)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_never_escape_as_other_errors(tmp_path: Path, file_format: str, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    pattern().save(buffer, file_format)
    content = bytearray(buffer.getvalue())
    positions = st.integers(0, len(content) - 1)
    for position, byte in data.draw(st.lists(st.tuples(positions, st.integers(0, 255)), max_size=8)):
        content[position] = byte
    path = tmp_path / "damaged"
    path.write_bytes(content[: data.draw(positions) + 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert load_image(path).mode == "RGB"
        except ImageError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4)])
def test_colour_of_16_bits_is_scaled(tmp_path: Path, colour_type: int, channels: int) -> None:
    # Pillow writes no such files, cameras' converters do.
    pixel = (0xFFFF, 0x8080, 0x0000, 0xFFFF)[:channels]
    rows = b"".join(b"\0" + struct.pack(">" + "H" * channels, *pixel) * 2 for _ in range(2))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, colour_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert load_image(tmp_path / "deep.png").getpixel((1, 1)) == (255, 128, 0)


def test_a_format_that_starts_another_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(path) as known:
        assert known.format == "EPS"
    started: list[object] = []
    monkeypatch.setattr("subprocess.Popen", lambda *args, **_: started.append(args))
    with pytest.raises(ImageError, match="is not a picture in a known format"):
        load_image(path)
    assert started == []
