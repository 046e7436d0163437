"""The photograph comes home: a call gives the whole photograph, and an identity remembers which one it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pti_hub import InputError, Personalization, PTIPipeline, WeightsError
from pti_hub.images import to_pil


@pytest.fixture
def picture(photograph: torch.Tensor) -> Image.Image:
    """The photograph, twice as large as the generator's pictures."""
    return to_pil(photograph[None])[0].resize((128, 128), Image.Resampling.BICUBIC)


def same(a: Image.Image, b: Image.Image) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b))


def test_without_an_edit_it_is_the_photograph(pipe: PTIPipeline, picture: Image.Image) -> None:
    out = pipe(picture)
    assert same(out.photographs[0], picture)
    assert out.images[0].size == (64, 64)


def test_an_edit_comes_home_at_the_photographs_size(pipe: PTIPipeline, picture: Image.Image) -> None:
    out = pipe(picture, edit=("smile", 4.0))
    assert out.photographs[0].size == picture.size
    changed = (np.asarray(out.photographs[0]) != np.asarray(picture)).any(2)
    assert changed[32:96, 32:96].any()
    border = np.concatenate([changed[0], changed[-1], changed[:, 0], changed[:, -1]])
    assert not border.any()


def test_an_identity_takes_an_edit_into_its_own_photograph_alone(
    pipe: PTIPipeline, picture: Image.Image, tmp_path: Path
) -> None:
    picture.save(tmp_path / "group.png")
    first = pipe(tmp_path / "group.png", edit="smile")
    first.personalization.save_pretrained(tmp_path / "ada")
    ada = Personalization.from_pretrained(tmp_path / "ada")
    assert ada.placements == first.personalization.placements
    again = pipe(ada, edit="smile", photograph=tmp_path / "group.png")
    assert same(again.photographs[0], first.photographs[0])
    assert pipe(ada, edit="smile").photographs == []
    for other in (picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), picture.crop((0, 0, 100, 128))):
        with pytest.raises(InputError, match=r"is not the one that 'subject' was tuned on, of 128×128 px"):
            pipe(ada, photograph=other)


def test_what_is_saved_holds_no_pixel(pipe: PTIPipeline, picture: Image.Image, tmp_path: Path) -> None:
    pipe.personalize({"ada": picture}).save_pretrained(tmp_path / "ada")
    placement = json.loads((tmp_path / "ada" / "personalization.json").read_text())["placements"]["ada"]
    assert placement["size"] == [128, 128]
    assert len(placement["digest"]) == 64
    assert placement.keys() == {"quad", "size", "digest"}


def test_an_identity_without_a_photograph_says_so(pipe: PTIPipeline, picture: Image.Image) -> None:
    ada = pipe(picture).personalization
    ada.placements = {}
    with pytest.raises(InputError, match="'subject' remembers no photograph"):
        pipe(ada, photograph=picture)


def test_a_hostile_placement_is_one_line(pipe: PTIPipeline, picture: Image.Image, tmp_path: Path) -> None:
    pipe(picture).personalization.save_pretrained(tmp_path / "ada")
    path = tmp_path / "ada" / "personalization.json"
    config = json.loads(path.read_text())
    config["placements"]["subject"]["size"] = [10**9, 1]
    path.write_text(json.dumps(config))
    with pytest.raises(WeightsError) as caught:
        Personalization.from_pretrained(tmp_path / "ada")
    assert "\n" not in str(caught.value)


def test_a_photograph_for_a_photograph_is_refused(pipe: PTIPipeline, picture: Image.Image) -> None:
    with pytest.raises(InputError, match="photograph= is for identities that were tuned before"):
        pipe(picture, photograph=picture)


def test_of_a_cast_those_in_the_photograph_come_home(pipe: PTIPipeline, picture: Image.Image) -> None:
    cast = pipe.personalize({"ada": picture, "bob": picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)})
    out = pipe(cast, edit="smile", photograph=picture)
    assert len(out.photographs) == len(out.images) == 1
    assert same(out.images[0], pipe.edit(cast, "smile")[0])


def test_a_run_folder_knows_the_photograph_beside_its_face(
    pipe: PTIPipeline, picture: Image.Image, tmp_path: Path
) -> None:
    small = to_pil(pipe.generator.synthesis(pipe.generator.w_avg[None]))[0]
    pipe(small, run_folder=tmp_path / "run")
    with pytest.raises(InputError, match="holds a run with another photographs"):
        pipe(small.resize((128, 128), Image.Resampling.NEAREST), run_folder=tmp_path / "run")


def test_arrays_and_tensors_as_in_diffusers(pipe: PTIPipeline, picture: Image.Image) -> None:
    out = pipe([picture, picture.rotate(90)], edit="smile")
    arrays, tensors = out.converted("np"), out.converted("pt")
    for name in ("images", "reconstruction", "aligned", "projection"):
        array, tensor = getattr(arrays, name), getattr(tensors, name)
        assert array.dtype == np.float32
        assert array.shape == (2, 64, 64, 3)
        assert torch.equal(tensor, torch.from_numpy(array).permute(0, 3, 1, 2))
        np.testing.assert_allclose(array * 255, np.stack([np.asarray(p) for p in getattr(out, name)]), atol=1e-4)
    assert [photograph.shape for photograph in arrays.photographs] == [(128, 128, 3)] * 2
    assert [photograph.shape for photograph in tensors.photographs] == [(3, 128, 128)] * 2
    assert out.converted("pil") is out


def test_the_kind_of_pictures_is_an_argument(pipe: PTIPipeline, picture: Image.Image) -> None:
    ada = pipe(picture).personalization
    again = pipe(ada, output_type="pt")
    assert again.images.shape == (1, 3, 64, 64)  # type: ignore[attr-defined]
    assert again.photographs == []
    with pytest.raises(InputError, match="output_type='latent'; expected one of pil, np, pt"):
        pipe("not even read.jpg", output_type="latent")  # type: ignore[arg-type]
