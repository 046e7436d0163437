"""A photograph is written as it came: colours, EXIF data, quality, format."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms
from support.pictures import smooth_picture

from pti_hub.errors import MissingDependencyError
from pti_hub.images import load_image, read_photograph, save_image

ORIENTATION, CAMERA = int(ExifTags.Base.Orientation), int(ExifTags.Base.Model)


def lab_like_profile() -> bytes:
    """A profile whose colours are not sRGB's: sRGB with the red and the green primary exchanged."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    tags = {bytes(data[i : i + 4]): i for i in range(132, 132 + 12 * count, 12)}
    red, green = (slice(tags[name] + 4, tags[name] + 12) for name in (b"rXYZ", b"gXYZ"))
    data[red], data[green] = data[green], data[red]
    # The description would have it taken for sRGB.
    text = tags[b"desc"]
    start = int.from_bytes(data[text + 4 : text + 8], "big")
    place = bytes(data).index("sRGB".encode("utf-16-be"), start)
    data[place : place + 8] = "swap".encode("utf-16-be")
    return bytes(data)


def edited(picture: Image.Image) -> Image.Image:
    """The picture, brighter in the middle."""
    values = np.array(picture)
    values[20:40, 20:50] = np.minimum(values[20:40, 20:50].astype(int) + 40, 255)
    return Image.fromarray(values)


def outside(picture: Image.Image) -> np.ndarray:
    values = np.array(picture)
    values[20:40, 20:50] = 0
    return values


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[ORIENTATION], data[CAMERA] = orientation, "Camera 1"
    data.get_ifd(ExifTags.IFD.Exif)[int(ExifTags.Base.ISOSpeedRatings)] = 400
    return data


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_without_losses_nothing_changes_outside_the_edit(tmp_path: Path, suffix: str) -> None:
    smooth_picture(80, 60).save(tmp_path / f"a{suffix}")
    photograph = read_photograph(tmp_path / f"a{suffix}")
    save_image(photograph.with_edit(edited(photograph.picture)), tmp_path / f"b{suffix}")
    before, after = load_image(tmp_path / f"a{suffix}"), load_image(tmp_path / f"b{suffix}")
    assert np.array_equal(outside(before), outside(after))
    assert not np.array_equal(before, after)


def test_colours_stay_those_of_the_file(tmp_path: Path) -> None:
    profile = lab_like_profile()
    smooth_picture(80, 60).save(tmp_path / "a.png", icc_profile=profile)
    photograph = read_photograph(tmp_path / "a.png")
    assert not np.array_equal(photograph.picture, photograph.native)
    save_image(photograph.with_edit(edited(photograph.picture)), tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as saved:
        assert saved.info["icc_profile"] == profile
        assert np.array_equal(outside(saved), outside(smooth_picture(80, 60)))
    # In sRGB the edit is what it was, up to rounding and what the file's colours can't express.
    wanted, seen = (np.asarray(p).astype(int) for p in (edited(photograph.picture), load_image(tmp_path / "b.png")))
    assert np.abs(wanted - seen)[20:40, 20:50].mean() < 2


def test_exif_data_is_kept_and_the_orientation_applied_once(tmp_path: Path) -> None:
    smooth_picture(80, 60).save(tmp_path / "a.jpg", exif=exif(6), quality=95)
    photograph = read_photograph(tmp_path / "a.jpg")
    assert photograph.picture.size == (60, 80)
    save_image(photograph.with_edit(photograph.picture), tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as saved:
        assert saved.size == (60, 80)
        kept = saved.getexif()
        assert ORIENTATION not in kept
        assert kept[CAMERA] == "Camera 1"
        assert kept.get_ifd(ExifTags.IFD.Exif)[int(ExifTags.Base.ISOSpeedRatings)] == 400
    again = np.asarray(load_image(tmp_path / "b.jpg")).astype(int) - np.asarray(photograph.picture)
    assert np.abs(again).mean() < 1


@pytest.mark.parametrize("suffixes", [(".tif", ".tif"), (".jpg", ".tif"), (".tif", ".jpg"), (".png", ".webp")])
def test_exif_data_survives_in_every_format(tmp_path: Path, suffixes: tuple[str, str]) -> None:
    before, after = (tmp_path / f"{name}{suffix}" for name, suffix in zip("ab", suffixes, strict=True))
    smooth_picture(80, 60).save(before, exif=exif(1).tobytes())
    photograph = read_photograph(before)
    save_image(photograph.with_edit(photograph.picture), after)
    with Image.open(after) as saved:
        kept = saved.getexif()
        assert kept[CAMERA] == "Camera 1"
        assert kept.get_ifd(ExifTags.IFD.Exif)[int(ExifTags.Base.ISOSpeedRatings)] == 400
        assert saved.size == (80, 60)


def test_exif_data_too_long_for_a_jpeg_stays_in_a_png(tmp_path: Path) -> None:
    data = exif(1)
    data.get_ifd(ExifTags.IFD.Exif)[int(ExifTags.Base.MakerNote)] = bytes(70_000)
    smooth_picture(80, 60).save(tmp_path / "a.png", exif=data)
    photograph = read_photograph(tmp_path / "a.png")
    for name in ("b.png", "b.jpg"):
        save_image(photograph.with_edit(photograph.picture), tmp_path / name)
    with Image.open(tmp_path / "b.png") as saved, Image.open(tmp_path / "b.jpg") as shorter:
        assert saved.getexif()[CAMERA] == "Camera 1"
        assert not shorter.getexif()


def test_a_grainy_progressive_jpeg_can_be_written(tmp_path: Path) -> None:
    grain = np.random.default_rng(0).normal(128, 60, (300, 400, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(grain).save(tmp_path / "a.jpg", quality=99, subsampling=0)
    photograph = read_photograph(tmp_path / "a.jpg")
    picture = photograph.with_edit(photograph.picture)
    picture.info["progressive"] = True
    save_image(picture, tmp_path / "b.jpg")
    assert load_image(tmp_path / "b.jpg").size == (400, 300)


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_the_profile_of_a_screenshot_counts(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (8, 8), (40, 200, 40, 255) if mode == "RGBA" else 0).save(
        tmp_path / "a.png", icc_profile=lab_like_profile()
    )
    if mode == "P":
        palette = Image.new("P", (8, 8))
        palette.putpalette([40, 200, 40])
        palette.save(tmp_path / "a.png", icc_profile=lab_like_profile())
    photograph = read_photograph(tmp_path / "a.png")
    red, green, _ = np.asarray(photograph.picture)[0, 0].tolist()
    assert red > 150 > green
    assert np.asarray(photograph.with_edit(photograph.picture))[0, 0].tolist() == [40, 200, 40]


def test_the_preview_of_the_unedited_photograph_is_left_out(tmp_path: Path) -> None:
    # A JPEG with a preview: a second EXIF directory that points to another JPEG.
    smooth_picture(16, 12).save(tmp_path / "preview.jpg")
    preview = (tmp_path / "preview.jpg").read_bytes()
    first = (1).to_bytes(2, "little") + bytes([0x10, 1, 2, 0, 4, 0, 0, 0]) + b"Cam\0" + (26).to_bytes(4, "little")
    entries = [(0x0201, 4, 1, 26 + 2 + 2 * 12 + 4), (0x0202, 4, 1, len(preview))]
    second = (2).to_bytes(2, "little") + b"".join(
        tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + n.to_bytes(4, "little") + value.to_bytes(4, "little")
        for tag, kind, n, value in entries
    )
    data = b"Exif\0\0II*\0" + (8).to_bytes(4, "little") + first + second + bytes(4) + preview
    smooth_picture(80, 60).save(tmp_path / "a.jpg", exif=data)
    assert preview in (tmp_path / "a.jpg").read_bytes()
    photograph = read_photograph(tmp_path / "a.jpg")
    save_image(photograph.with_edit(photograph.picture), tmp_path / "b.jpg")
    assert preview[-60:] not in (tmp_path / "b.jpg").read_bytes()
    with Image.open(tmp_path / "b.jpg") as saved:
        assert saved.getexif()[CAMERA] == "Cam"


@pytest.mark.parametrize(("quality", "subsampling"), [(30, 2), (85, 1), (98, 0)])
def test_a_jpeg_keeps_its_quality(tmp_path: Path, quality: int, subsampling: int) -> None:
    smooth_picture(80, 60).save(tmp_path / "a.jpg", quality=quality, subsampling=subsampling, progressive=True)
    photograph = read_photograph(tmp_path / "a.jpg")
    save_image(photograph.with_edit(edited(photograph.picture)), tmp_path / "b.jpg")
    with Image.open(tmp_path / "a.jpg") as before, Image.open(tmp_path / "b.jpg") as after:
        assert before.quantization == after.quantization  # type: ignore[attr-defined]
        assert before.info.get("progressive") == after.info.get("progressive")
    assert read_photograph(tmp_path / "b.jpg").info["subsampling"] == subsampling


def test_a_grey_file_stays_grey(tmp_path: Path) -> None:
    smooth_picture(80, 60).convert("L").save(tmp_path / "a.jpg")
    photograph = read_photograph(tmp_path / "a.jpg")
    save_image(photograph.with_edit(photograph.picture), tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as saved:
        assert saved.mode == "L"


def test_a_damaged_profile_and_damaged_exif_data_are_left_out(tmp_path: Path) -> None:
    smooth_picture(80, 60).save(tmp_path / "a.png", icc_profile=b"no profile", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    photograph = read_photograph(tmp_path / "a.png")
    save_image(photograph.with_edit(edited(photograph.picture)), tmp_path / "b.png")
    assert np.array_equal(outside(load_image(tmp_path / "b.png")), outside(smooth_picture(80, 60)))


def test_heic_is_read_and_written(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(smooth_picture(80, 60)).save(tmp_path / "a.HEIC", quality=95)
    photograph = read_photograph(tmp_path / "a.HEIC")
    assert np.abs(np.asarray(photograph.picture).astype(int) - np.asarray(smooth_picture(80, 60))).mean() < 4
    save_image(photograph.with_edit(edited(photograph.picture)), tmp_path / "b.heic")
    assert load_image(tmp_path / "b.heic").size == (80, 60)


@pytest.mark.parametrize("action", ["read", "write"])
def test_heic_without_its_package_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    actions: dict[str, Any] = {
        "read": lambda: load_image(tmp_path / "a.heic"),
        "write": lambda: save_image(smooth_picture(8, 8), tmp_path / "b.heic"),
    }
    with pytest.raises(MissingDependencyError, match=r"pip install 'pti-hub\[heic\]'") as caught:
        actions[action]()
    assert "\n" not in str(caught.value)


def test_a_photograph_reaches_another_process_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.effect_noise((32, 24), 80).convert("RGB").save(path, quality=70, dpi=(72, 72))
    read = read_photograph(path)
    arrived = pickle.loads(pickle.dumps(read))
    assert arrived.digest == read.digest
    assert arrived.native is arrived.picture
    assert dict(arrived.info) == dict(read.info)
    with pytest.raises(TypeError):
        arrived.info["dpi"] = (1, 1)
