"""Directions from phrases, by a small CLIP with random weights."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("transformers")

from support.text_models import save_clip

from pti_hub.edits.learning import Samples, TextModel, Words, covariance_root
from pti_hub.errors import InputError, WeightsError
from pti_hub.generators import MobileStyleGAN
from pti_hub.images import to_pil
from pti_hub.perceptual import LPIPS
from pti_hub.storage import read_tensors

QUIET = {"disable": True}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def words(generator: MobileStyleGAN, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Words:
    folder = tmp_path_factory.getbasetemp() / "words"
    return Words(lambda: Samples(generator, 600, folder, 0, QUIET), TextModel(str(clip)))


def rises(words: Words, generator: MobileStyleGAN, phrase: str, vectors: torch.Tensor) -> torch.Tensor:
    """Mean rise of the similarity along each of some vectors, on latents that were never seen."""
    with torch.no_grad():
        w = generator.mapping(torch.randn(150, 16, generator=torch.Generator().manual_seed(99)), truncation=0.7)
        base = mean_similarity(words, generator, phrase, w)
        return torch.stack([mean_similarity(words, generator, phrase, w + vector) - base for vector in vectors])


def mean_similarity(words: Words, generator: MobileStyleGAN, phrase: str, w: torch.Tensor) -> torch.Tensor:
    embedded = words.model.of_pictures(to_pil(generator.synthesis(w)))
    return (embedded.double() @ words._toward(phrase)).mean()


def test_a_phrase_raises_its_similarity_more_than_other_directions(words: Words, generator: MobileStyleGAN) -> None:
    direction = words.direction("a person with a beard")
    latents = words._samples().latents
    inverse = torch.linalg.inv(covariance_root(latents - latents.mean(0)))
    others = torch.randn(60, 16, generator=torch.Generator().manual_seed(1))
    # Lengths are those of the metric in which the steps of labels are shortest, √Σ⁻¹.
    lengths = [(v @ inverse @ v).sqrt() for v in torch.cat([direction.vector[None], others]).double()]
    others = torch.stack([v * lengths[0] / length for v, length in zip(others, lengths[1:], strict=True)]).float()
    own = rises(words, generator, "a person with a beard", direction.vector[None])[0]
    rest = rises(words, generator, "a person with a beard", others)
    assert own > 0
    assert own > rest.max()


def test_a_step_is_one_standard_deviation(words: Words, generator: MobileStyleGAN, perceptual: LPIPS) -> None:
    direction = words.direction("blond hair")
    assert direction.step is not None
    rise = rises(words, generator, "blond hair", direction.vector[None])[0]
    assert float(rise) == pytest.approx(direction.step.change, rel=0.5)
    (picture,) = to_pil(generator.synthesis(generator.w_avg[None]))
    assert direction.step.measure.of(picture, perceptual) == pytest.approx(words.similarity(picture, "blond hair"))


def test_samples_are_embedded_once(words: Words, generator: MobileStyleGAN, clip: Path, tmp_path: Path) -> None:
    first = words.direction("old age")
    again = Words(words._samples, TextModel(str(clip)))
    again.model.of_pictures = lambda pictures: pytest.fail("embedded again")  # type: ignore[method-assign]
    assert torch.equal(again.direction("old age").vector, first.vector)
    other = Words(words._samples, TextModel(str(save_clip(tmp_path / "other", seed=1))))
    assert not torch.equal(other.direction("old age").vector, first.vector)


def test_a_phrase_takes_milliseconds(words: Words) -> None:
    words.direction("a first one")
    start = time.perf_counter()
    words.direction("glasses")
    assert time.perf_counter() - start < 0.1
    assert words.direction(" glasses ") is words.direction("glasses")


@pytest.mark.parametrize(
    ("phrase", "message"),
    [("", "is empty"), ("  ", "is empty"), ("a face", "means the same as 'a face'")],
)
def test_phrases_that_say_nothing(words: Words, phrase: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        words.direction(phrase)


def test_pictures_that_are_all_alike(generator: MobileStyleGAN, clip: Path, tmp_path: Path) -> None:
    alike = Words(lambda: Samples(generator, 100, tmp_path, 0, QUIET), TextModel(str(clip)))
    alike.model.of_pictures = lambda pictures: torch.ones(len(pictures), 24)  # type: ignore[method-assign]
    with pytest.raises(InputError, match="do not differ in 'a hat'"):
        alike.direction("a hat")


def test_a_model_that_cannot_be_had(words: Words) -> None:
    missing = TextModel("nobody/nothing")
    with pytest.raises(WeightsError, match="the text model 'nobody/nothing' can't be loaded") as caught:
        missing.of_phrases(["a hat"])
    assert "\n" not in str(caught.value)


def test_a_damaged_model(clip: Path, tmp_path: Path) -> None:
    for file in os.listdir(clip):
        (tmp_path / file).write_bytes((clip / file).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(WeightsError, match="can't be loaded"):
        TextModel(str(tmp_path)).of_phrases(["a hat"])


def test_a_model_that_lacks_weights(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(clip, folder)
    whole = read_tensors(folder / "model.safetensors")
    half = {name: tensor for name, tensor in whole.items() if not name.startswith("vision_model")}
    save_file(half, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks .* weights, such as vision_model"):
        TextModel(str(folder)).of_phrases(["a hat"])


def test_code_of_a_repository_is_not_run(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "foreign"
    shutil.copytree(clip, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "foreign.Foreign", "AutoModel": "foreign.Foreign"}, "model_type": "foreign"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "foreign.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'made')!r})\nclass Foreign: pass\n")
    monkeypatch.setattr("builtins.input", lambda *args: "y")
    with pytest.raises(WeightsError, match="can't be loaded"):
        TextModel(str(folder)).of_phrases(["a hat"])
    assert not (tmp_path / "made").exists()


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_pickled_weights_are_read_and_their_code_is_not_run(clip: Path, tmp_path: Path) -> None:
    from transformers import CLIPModel

    folder = tmp_path / "pickled"
    shutil.copytree(clip, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save(CLIPModel.from_pretrained(clip).state_dict(), folder / "pytorch_model.bin")
    same = TextModel(str(folder)).of_phrases(["a hat"])
    assert torch.allclose(same, TextModel(str(clip)).of_phrases(["a hat"]), atol=1e-5)
    torch.save({"x": Hostile(tmp_path / "made")}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="can't be loaded"):
        TextModel(str(folder)).of_phrases(["a hat"])
    assert not (tmp_path / "made").exists()


def test_a_model_of_another_kind(clip: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    small = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=200)
    BertModel(small).save_pretrained(tmp_path)
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        if (clip / file).exists():
            (tmp_path / file).write_bytes((clip / file).read_bytes())
    with pytest.raises(WeightsError, match=r"can't be loaded|does not embed both"):
        TextModel(str(tmp_path)).of_phrases(["a hat"])


@pytest.mark.parametrize("name", ["", "  ", None, 3])
def test_names_that_are_none(name: Any) -> None:
    with pytest.raises(InputError, match="expected a Hub id"):
        TextModel(name)
