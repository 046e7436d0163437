"""Directions by name, kept in folders, and those that are shipped."""

from __future__ import annotations

import importlib.util
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.directions import CATALOGUE, vector

from pti_hub.edits import Direction, LatentMapper, Step, load_edits, save_edits, shipped_edits
from pti_hub.errors import InputError, WeightsError
from pti_hub.faces import MEASURES
from pti_hub.storage import read_rows

WAVERING = {"sad": 0.85}
"""Least share of photographs on which the label of an edit rises, where the labels waver (docs/edits.md)."""

ROOT = Path(__file__).parents[2]
STEP = Step(MEASURES["yaw"], 10.0)
NAMES = st.text(min_size=1, max_size=8).filter(lambda s: s.strip() and "=" not in s)


@settings(deadline=None)
@given(names=st.lists(NAMES, unique=True, max_size=4), data=st.data())
def test_round_trip(names: list[str], data: st.DataObject, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("edits") / "edits"
    shapes = [data.draw(st.sampled_from([(8,), (4, 8)])) for _ in names]
    made = {
        name: Direction(
            name, vector(*shape, seed=i), f"from {i}", {"hits": i / 10}, data.draw(st.sampled_from([None, STEP]))
        )
        for i, (name, shape) in enumerate(zip(names, shapes, strict=True))
    }
    save_edits(folder, made)
    loaded = load_edits(folder)
    assert list(loaded) == list(made)
    for name, direction in loaded.items():
        want = made[name]
        assert torch.equal(direction.vector, want.vector)
        assert direction.vector.dtype == want.vector.dtype
        assert (direction.name, direction.provenance, dict(direction.metrics), direction.step) == (
            (name, want.provenance, dict(want.metrics), want.step)
        )


def test_names_that_are_not_its_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="listed as 'old'"):
        save_edits(tmp_path / "edits", {"old": CATALOGUE["age"]})
    assert not (tmp_path / "edits").exists()


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="missing"):
        load_edits(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        "[]",
        "{",
        json.dumps({"age": {}}),
        json.dumps({"age": {"provenance": "", "metrics": {}}}),
        json.dumps({k: {"provenance": "", "metrics": 3} for k in CATALOGUE}),
        json.dumps({k: [] for k in CATALOGUE}),
        json.dumps({k: {"provenance": "", "metrics": {}, "step": {"measure": "yaw"}} for k in CATALOGUE}),
        json.dumps({k: {"provenance": "", "metrics": {}, "step": {"measure": "x", "change": 1}} for k in CATALOGUE}),
        json.dumps({k: {"provenance": "", "metrics": {}, "step": {"measure": "yaw", "change": ""}} for k in CATALOGUE}),
        json.dumps({k + "=": {"provenance": "", "metrics": {}} for k in CATALOGUE}),
    ],
)
def test_damaged_config(config: str, tmp_path: Path) -> None:
    save_edits(tmp_path / "edits", CATALOGUE)
    (tmp_path / "edits" / "edits.json").write_text(config)
    with pytest.raises(WeightsError) as caught:
        load_edits(tmp_path / "edits")
    assert "\n" not in str(caught.value)


def test_truncated_vectors(tmp_path: Path) -> None:
    save_edits(tmp_path / "edits", CATALOGUE)
    path = tmp_path / "edits" / "edits.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(WeightsError, match="damaged"):
        load_edits(tmp_path / "edits")


def test_shipped() -> None:
    edits = shipped_edits()
    assert list(edits)[:3] == ["smile", "age", "pose"] and len(edits) >= 15
    for name, direction in edits.items():
        assert direction.vector.shape == (16, 512)
        assert direction.vector.dtype == torch.float32
        assert direction.provenance
        assert direction.step is not None and direction.step.change > direction.step.measure.tolerance
        assert direction.metrics["shift"] > 0.3, name
        assert direction.metrics["hit_rate"] >= 0.95, name
        assert direction.metrics["identity_distance"] < 0.5


def test_shipped_edits_go_the_right_way_on_photographs() -> None:
    rows = read_rows(ROOT / "docs" / "results" / "strengths.jsonl")
    assert {row["edit"] for row in rows} >= set(shipped_edits())
    for name in shipped_edits():
        moved = [row["change"] > 0 for row in rows if (row["edit"], row["asked"]) == (name, 1) and row["strength"]]
        assert len(moved) >= 12 and sum(moved) >= WAVERING.get(name, 0.95) * len(moved), name


def test_edits_that_fail_too_often_are_not_shipped() -> None:
    weaker = load_edits(ROOT / "examples" / "weaker_edits")
    assert weaker.keys() == {"gender", "angry", "beard", "long_hair"}
    for name, direction in weaker.items():
        assert isinstance(direction, Direction) and direction.step is not None
        assert direction.metrics["hit_rate"] < 0.95 and name not in shipped_edits()


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("random_face", "face_recognition_models", "dlib")),
    reason="weight packages random_face and face_recognition_models or dlib are not installed",
)
def test_pose_turns_the_head() -> None:
    from pti_hub.checkpoints.openvino import load_mobile_stylegan
    from pti_hub.faces import FaceAnalyzer, head_pose, select

    generator, faces, pose = load_mobile_stylegan(), FaceAnalyzer(), shipped_edits()["pose"]
    z = torch.randn(3, generator.z_dim, generator=torch.Generator().manual_seed(7))
    ws = generator.mapping(z, truncation=0.7)[:, None].expand(-1, generator.num_ws, -1)

    def yaws(strength: float) -> list[float]:
        measured = []
        for w in pose.apply(ws, strength):
            picture = generator.synthesis(w[None], resolution=512)[0].clamp(-1, 1)
            image = Image.fromarray(((picture + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())
            measured.append(head_pose(select(faces.detect(image)).landmarks).yaw)
        return measured

    left, middle, right = yaws(-1), yaws(0), yaws(1)
    for three in zip(left, middle, right, strict=True):
        assert three[0] + 4 < three[1] < three[2] - 4


def test_shipped_edits_go_to_other_processes() -> None:
    for name, direction in shipped_edits().items():
        again = pickle.loads(pickle.dumps(direction))
        assert (again.name, again.step is None) == (name, direction.step is None)


@pytest.mark.parametrize(
    "entry",
    [
        {"step": {"measure": "smile", "change": 10**400}},
        {"metrics": 1},
        {"step": []},
        {"step": {"measure": "\ud800\x00" * 999}},
    ],
)
def test_hostile_numbers_and_names_are_one_short_line(entry: dict[str, Any], tmp_path: Path) -> None:
    save_edits(tmp_path / "edits", {"a": Direction("a", vector(8))})
    config = json.loads((tmp_path / "edits" / "edits.json").read_text())
    (tmp_path / "edits" / "edits.json").write_text(json.dumps({"a": config["a"] | entry}))
    with pytest.raises(WeightsError, match="holds no valid edits") as caught:
        load_edits(tmp_path / "edits")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600


def test_mappers_lie_in_folders_of_their_own(tmp_path: Path) -> None:
    mapper = LatentMapper(["medium"], 16, 2, "made here")
    made = {"a": Direction("a", vector(8)), "curly hair": mapper, "b": Direction("b", vector(8, seed=1))}
    save_edits(tmp_path / "edits", made)
    loaded = load_edits(tmp_path / "edits")
    assert list(loaded) == list(made)
    assert all(torch.equal(loaded[name].vector, made[name].vector) for name in "ab")  # type: ignore[union-attr]
    ws = vector(2, 8, 16)
    for again in (loaded["curly hair"], LatentMapper.from_pretrained(tmp_path / "edits" / "curly hair")):
        assert isinstance(again, LatentMapper)
        assert torch.equal(again(ws), mapper(ws))
        assert again.provenance == "made here"


@pytest.mark.parametrize("name", ["../up", ".", "", "a/b", "/root", "edits.json", "edits.safetensors"])
def test_mappers_stay_in_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a name that a folder can have"):
        save_edits(tmp_path / "edits", {name: LatentMapper(["coarse"], 16, 1)})
    save_edits(tmp_path / "tampered", {})
    (tmp_path / "tampered" / "edits.json").write_text(json.dumps({name: {"mapper": True}}))
    with pytest.raises(WeightsError, match="holds no valid edits"):
        load_edits(tmp_path / "tampered")


def test_a_mapper_that_is_left_out_leaves_nothing_behind(tmp_path: Path) -> None:
    save_edits(tmp_path / "edits", {"curly": LatentMapper(["coarse"], 16, 1), "red": LatentMapper(["fine"], 16, 1)})
    (tmp_path / "edits" / "notes.txt").write_text("of others")
    save_edits(tmp_path / "edits", {"curly": Direction("curly", vector(16))})
    there = {path.name for path in (tmp_path / "edits").iterdir()}
    assert there == {"edits.json", "edits.safetensors", "notes.txt"}


def test_a_mapper_that_is_gone(tmp_path: Path) -> None:
    save_edits(tmp_path / "edits", {"curly": LatentMapper(["coarse"], 16, 1)})
    (tmp_path / "edits" / "curly" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="missing or damaged"):
        load_edits(tmp_path / "edits")
