"""A generator's own pictures, rendered once and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pti_hub.edits.learning import Samples
from pti_hub.errors import InputError, SaveError
from pti_hub.generators import MobileStyleGAN

QUIET = {"disable": True}


def brightness(pictures: list[Image.Image]) -> list[float]:
    return [float(np.asarray(picture).mean()) for picture in pictures]


def samples(generator: MobileStyleGAN, folder: Path, count: int = 60, seed: int = 0) -> Samples:
    return Samples(generator, count, folder, seed, QUIET)


def test_pictures_are_rendered_once(generator: MobileStyleGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = samples(generator, tmp_path).measure(brightness)
    monkeypatch.setattr(generator, "synthesis", lambda *args, **kwargs: pytest.fail("rendered again"))
    again = samples(generator, tmp_path).measure(brightness)
    assert first.shape == (60,)
    assert torch.equal(first, again)
    assert first.std() > 0


def test_pictures_are_those_of_the_latents(generator: MobileStyleGAN, tmp_path: Path) -> None:
    found = samples(generator, tmp_path)
    (picture,) = found.pictures([7])
    rendered = generator.synthesis(found.latents[7, None])[0].permute(1, 2, 0).clamp(-1, 1) * 127.5 + 127.5
    assert picture.size == (64, 64)
    assert np.abs(np.asarray(picture).astype(float) - rendered.numpy()).mean() < 4  # JPEG


def test_a_larger_count_begins_alike(generator: MobileStyleGAN, tmp_path: Path) -> None:
    few, many = samples(generator, tmp_path, 60), samples(generator, tmp_path, 130)
    assert torch.equal(few.latents, many.latents[:60])
    assert torch.equal(few.measure(brightness, "light"), many.measure(brightness, "light")[:60])


def test_kept_numbers_are_not_measured_again(generator: MobileStyleGAN, tmp_path: Path) -> None:
    kept = samples(generator, tmp_path).measure(brightness, "light")
    again = samples(generator, tmp_path).measure(lambda pictures: pytest.fail("measured again"), "light")
    assert torch.equal(kept, again)


def test_work_goes_on_where_it_stopped(generator: MobileStyleGAN, tmp_path: Path) -> None:
    seen = 0

    def stops(pictures: list[Image.Image]) -> list[float]:
        nonlocal seen
        if seen >= 50:
            raise KeyboardInterrupt
        seen += len(pictures)
        return brightness(pictures)

    with pytest.raises(KeyboardInterrupt):
        samples(generator, tmp_path, 120).measure(stops, "light")
    seen = -1000
    samples(generator, tmp_path, 120).measure(stops, "light")
    assert seen == -1000 + 70


def test_what_a_kill_left_is_removed(generator: MobileStyleGAN, tmp_path: Path) -> None:
    found = samples(generator, tmp_path)
    found.measure(brightness, "light")
    left = [folder / ".0123456789abcdef.lock" for folder in (found.folder, found.folder / "light")]
    for path in left:
        path.touch()
    samples(generator, tmp_path).measure(brightness, "light")
    assert not any(path.exists() for path in left)


def test_damaged_files_are_made_again(
    generator: MobileStyleGAN, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = samples(generator, tmp_path)
    whole = found.measure(brightness, "light")
    next(found.folder.glob("light/*")).write_bytes(b"x")
    next(found.folder.glob("*.jpg")).write_bytes(b"x")
    assert torch.equal(samples(generator, tmp_path).measure(brightness, "light"), whole)
    assert "is damaged and measured again" in caplog.text


def test_seeds_and_generators_have_folders_of_their_own(generator: MobileStyleGAN, tmp_path: Path) -> None:
    other = MobileStyleGAN(z_dim=16, w_dim=16, channels=(16, 16, 8, 8), mapping_layers=2)
    made = [samples(generator, tmp_path), samples(generator, tmp_path, seed=1), samples(other, tmp_path)]
    assert len({found.folder for found in made}) == 3
    assert not torch.equal(made[0].latents, made[1].latents)


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "all"])
def test_counts_that_cannot_be(generator: MobileStyleGAN, tmp_path: Path, count: Any) -> None:
    with pytest.raises(InputError, match="expected a whole number of at least 1"):
        Samples(generator, count, tmp_path)


@pytest.mark.parametrize("answer", [[1.0], 3.0, torch.zeros(10, 2, 2)])
def test_measurements_of_another_number(generator: MobileStyleGAN, tmp_path: Path, answer: Any) -> None:
    with pytest.raises(InputError, match="expected a number, or a row of numbers, for each"):
        samples(generator, tmp_path, 10).measure(lambda pictures: answer)


@pytest.mark.parametrize("key", ["", "../x", "a/b"])
def test_keys_that_are_no_names(generator: MobileStyleGAN, tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match="expected a name that a folder can have"):
        samples(generator, tmp_path, 10).measure(brightness, key)


def test_a_folder_that_cannot_be_written(generator: MobileStyleGAN, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError):
        samples(generator, tmp_path / "file", 10).measure(brightness)
