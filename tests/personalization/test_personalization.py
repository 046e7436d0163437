"""A personalisation as a value: saved, loaded, published, and refused where it does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.hub_server import HubServer
from support.pictures import same_pictures

from pti_hub import InputError, Personalization, PTIPipeline, WeightsError
from pti_hub.generators import MobileStyleGAN
from pti_hub.personalization import Base
from pti_hub.storage import fingerprint


@pytest.fixture
def personalization(generator: MobileStyleGAN) -> Personalization:
    deltas = {"conv.bias": torch.full_like(generator.conv.bias, 0.1)}
    base = Base("tiny", fingerprint(generator))
    pivots = {"Ada L.": torch.zeros(16), "../b": torch.ones(8, 16)}
    origins = [{"part": "generator", "origin": "a laboratory", "licence": "CC0"}]
    return Personalization(deltas, pivots, base, {"Ada L.": {"mse": 0.1}}, origins=origins)


def test_personalization_round_trip(personalization: Personalization, tmp_path: Path) -> None:
    personalization.save_pretrained(tmp_path / "ada")
    loaded = Personalization.from_pretrained(tmp_path / "ada")
    assert list(loaded.pivots) == ["Ada L.", "../b"]
    for ours, theirs in [(personalization.deltas, loaded.deltas), (personalization.pivots, loaded.pivots)]:
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (loaded.base, loaded.metrics) == (personalization.base, personalization.metrics)


def test_a_card_states_base_and_licence(personalization: Personalization, tmp_path: Path) -> None:
    personalization.save_pretrained(tmp_path / "ada")
    card = (tmp_path / "ada" / "README.md").read_text()
    assert "# Personalisation of tiny" in card
    assert "| generator | a laboratory | CC0 |" in card


def test_another_generator_is_refused(personalization: Personalization, generator: MobileStyleGAN) -> None:
    personalization.check(generator, Base("tiny", fingerprint(generator)))
    with torch.no_grad():
        generator.conv.weight[0, 0, 0, 0] *= 1.01
    with pytest.raises(InputError, match="load that base"):
        personalization.check(generator, Base("tiny", fingerprint(generator)))


def test_nan_is_refused() -> None:
    with pytest.raises(InputError, match="'x' holds NaN"):
        Personalization({}, {"x": torch.tensor([float("nan")])}, Base("", ""))
    with pytest.raises(InputError, match="without identities"):
        Personalization({}, {}, {})


@pytest.mark.parametrize("damage", ["json", "tensors", "missing", "identity"])
def test_a_damaged_folder(personalization: Personalization, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "ada"
    personalization.save_pretrained(folder)
    if damage == "json":
        (folder / "personalization.json").write_text("{")
    elif damage == "tensors":
        path = folder / "personalization.safetensors"
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "missing":
        (folder / "personalization.safetensors").unlink()
    else:
        text = (folder / "personalization.json").read_text()
        (folder / "personalization.json").write_text(text.replace('"Ada L.",', '"Ada L.", "ghost",', 1))
    with pytest.raises(WeightsError) as caught:
        Personalization.from_pretrained(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("identities", "Ada L."),
        ("identities", []),
        ("base", ["abc"]),
        ("base", {"name": "tiny"}),
        ("metrics", {"Ada L.": ["abc"]}),
        ("metrics", {"Ada L.": {"mse": "low"}}),
        ("origins", 5),
    ],
)
def test_hostile_json(personalization: Personalization, tmp_path: Path, key: str, value: object) -> None:
    personalization.save_pretrained(tmp_path / "ada")
    path = tmp_path / "ada" / "personalization.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(WeightsError) as caught:
        Personalization.from_pretrained(tmp_path / "ada")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("deltas", "pivot"),
    [
        ({"ghost": torch.zeros(1)}, torch.zeros(16)),
        ({"conv.bias": torch.zeros(3)}, torch.zeros(16)),
        ({}, torch.zeros(3)),
    ],
)
def test_shapes_that_do_not_fit(
    generator: MobileStyleGAN, deltas: dict[str, torch.Tensor], pivot: torch.Tensor
) -> None:
    base = Base("tiny", fingerprint(generator))
    with pytest.raises(InputError):
        Personalization(deltas, {"ada": pivot}, base).check(generator, base)


@pytest.mark.parametrize("delta", ["exact", "half", "compact", "small"])
def test_what_is_pushed_is_what_is_pulled(
    hub: HubServer, pipe: PTIPipeline, ada: Personalization, delta: str, tmp_path: Path
) -> None:
    ada.push_to_hub("me/ada", delta=delta)
    ada.save_pretrained(tmp_path / "ada", delta=delta)
    pulled = Personalization.from_pretrained("me/ada")
    assert same_pictures(
        pipe.edit(pulled, "smile"), pipe.edit(Personalization.from_pretrained(tmp_path / "ada"), "smile")
    )
    if delta == "exact":
        assert all(torch.equal(pulled.deltas[name], ada.deltas[name]) for name in ada.deltas)
