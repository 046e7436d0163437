"""Pictures are written whole, as files, strips and animations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.pictures import pattern, pixel, same

from pti_hub.errors import ImageError
from pti_hub.images import load_image, save_animation, save_image, side_by_side


@pytest.mark.parametrize("name", ["picture.png", "picture.JPG", "picture.jpeg"])
def test_pictures_are_saved_in_the_format_of_their_suffix(tmp_path: Path, name: str) -> None:
    picture = Image.new("RGB", (16, 16), (200, 100, 50))
    save_image(picture, tmp_path / name)
    with Image.open(tmp_path / name) as saved:
        assert saved.format == ("PNG" if name.endswith("png") else "JPEG")
        assert np.allclose(pixel(saved.convert("RGB")), (200, 100, 50), atol=3)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_an_interrupted_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "picture.png"
    save_image(pattern(), path)

    def fail(self: Path, content: bytes) -> None:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        save_image(pattern(32, 32), path)
    monkeypatch.undo()
    assert same(load_image(path), pattern())
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"]


def test_unusable_places_to_save_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"\.png"):
        save_image(pattern(), tmp_path / "picture.xyz")
    with pytest.raises(ImageError, match="doesn't exist"):
        save_image(pattern(), tmp_path / "nowhere" / "picture.png")
    with pytest.raises(ImageError, match="mode L"):
        save_image(pattern().convert("L"), tmp_path / "picture.png")


def colours(*names: str) -> list[Image.Image]:
    return [Image.new("RGB", (40, 20), name) for name in names]


def test_pictures_in_a_row() -> None:
    row = side_by_side([*colours("red", "blue"), Image.new("RGB", (10, 20), "green")], height=10)
    assert row.size == (20 + 20 + 5, 10)
    assert [row.getpixel((x, 5)) for x in (10, 30, 42)] == [(255, 0, 0), (0, 0, 255), (0, 128, 0)]
    with pytest.raises(ImageError, match="no pictures"):
        side_by_side([])


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_an_animation_shows_its_frames(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"walk{suffix}"
    save_animation(colours("red", "blue", "green"), path, frames_per_second=10, height=32)
    if suffix == ".gif":
        with Image.open(path) as gif:
            assert (gif.n_frames, gif.size, gif.info["duration"], gif.info["loop"]) == (3, (64, 32), 100, 0)  # type: ignore[attr-defined]
            frames = []
            for i in range(3):
                gif.seek(i)
                frames.append(gif.convert("RGB"))
    else:
        with pytest.importorskip("av").open(str(path)) as video:
            frames = [frame.to_image() for frame in video.decode(video=0)]
    assert len(frames) == 3
    for frame, channel in zip(frames, (0, 2, 1), strict=True):
        assert np.asarray(frame)[16, 32].argmax() == channel
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("images", "name", "speed", "message"),
    [
        ([], "walk.gif", 12, "frames of one size"),
        ([*colours("red"), Image.new("RGB", (1, 1))], "walk.gif", 12, "frames of one size"),
        (colours("red"), "walk.avi", 12, "end it in .gif, .mp4"),
        (colours("red"), "nowhere/walk.gif", 12, "doesn't exist"),
        (colours("red"), "walk.gif", 0, "expected 1 to 50"),
        (colours("red"), "walk.txt", 12, "end it in"),
    ],
)
def test_animations_that_cannot_be(
    tmp_path: Path, images: list[Image.Image], name: str, speed: float, message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        save_animation(images, tmp_path / name, speed)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("height", [0, 511, -2])
def test_frames_of_an_odd_height(tmp_path: Path, height: int) -> None:
    with pytest.raises(ImageError, match="even number of pixels"):
        save_animation(colours("red"), tmp_path / "walk.mp4", height=height)
