"""Directions: a latent plus so many steps, named by the user, kept in folders, read from other people's files."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from pti_hub.checkpoints.directions import load_direction
from pti_hub.edits import Direction, Edit, EditParser, load_edits, save_edits, shipped_edits
from pti_hub.errors import InputError, WeightsError
from pti_hub.faces import eye_openness, mouth_openness
from pti_hub.generators import MobileStyleGAN

STRENGTHS = st.floats(-100, 100)
NAMES = st.text(min_size=1, max_size=8).filter(lambda s: s.strip() and "=" not in s)


def vector(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


CATALOGUE = {name: Direction(name, vector(8, seed=i)) for i, name in enumerate(["smile", "age", "pose"])}


class TestDirection:
    @settings(deadline=None)
    @given(a=STRENGTHS, b=STRENGTHS, plus=st.booleans())
    def test_steps_add_up(self, a: float, b: float, plus: bool) -> None:
        direction = Direction("d", vector(4, 8).double() if plus else vector(8).double())
        ws = vector(2, 4, 8, seed=1).double()
        twice = direction.apply(direction.apply(ws, a), b)
        torch.testing.assert_close(twice, direction.apply(ws, a + b), rtol=0, atol=1e-10)
        torch.testing.assert_close(twice - ws, (a + b) * direction.vector.expand(2, 4, 8), rtol=0, atol=1e-10)

    def test_leaves_its_input_alone(self) -> None:
        ws = vector(1, 4, 8)
        before = ws.clone()
        edited = Direction("d", vector(8, seed=1)).apply(ws, 0.0)
        edited += 1
        assert torch.equal(ws, before)

    def test_w_direction_edits_w(self) -> None:
        w, direction = vector(3, 8), Direction("d", vector(8, seed=1))
        in_layers = direction.apply(w[:, None].expand(-1, 4, -1), 2.0)
        assert torch.equal(in_layers, direction.apply(w, 2.0)[:, None].expand(-1, 4, -1))

    def test_keeps_type_of_latent(self) -> None:
        assert Direction("d", vector(8)).apply(vector(1, 4, 8).bfloat16()).dtype == torch.bfloat16

    @pytest.mark.parametrize(
        ("direction", "ws"),
        [((8,), (1, 4, 9)), ((4, 8), (1, 5, 8)), ((4, 8), (4, 8)), ((8,), (8,)), ((8,), (1, 1, 4, 8))],
    )
    def test_refuses_latents_that_do_not_fit(self, direction: tuple[int, ...], ws: tuple[int, ...]) -> None:
        with pytest.raises(InputError, match="latent of shape"):
            Direction("d", vector(*direction)).apply(vector(*ws))

    def test_layers(self) -> None:
        whole = Direction("d", vector(8), "mine")
        part = whole.layers(1, 2, num_ws=4)
        assert (whole.space, part.space) == ("W", "W+")
        assert torch.equal(part.vector[1:3], whole.vector.expand(2, 8))
        assert not part.vector[[0, 3]].any()
        assert torch.equal(part.layers(2, 3, num_ws=4).vector[2], whole.vector)
        assert not part.layers(2, 3, num_ws=4).vector[[0, 1, 3]].any()
        assert part.provenance == "mine; layers 1 to 2"

    @pytest.mark.parametrize(("first", "last"), [(-1, 2), (2, 1), (0, 4)])
    def test_layers_out_of_range(self, first: int, last: int) -> None:
        with pytest.raises(InputError, match="layers"):
            Direction("d", vector(8)).layers(first, last, num_ws=4)

    def test_layers_of_another_generator(self) -> None:
        with pytest.raises(InputError, match="num_ws=5"):
            Direction("d", vector(4, 8)).layers(0, 1, num_ws=5)

    @pytest.mark.parametrize(
        "bad",
        [torch.zeros(2, 3, 4), torch.zeros(()), torch.zeros(0), torch.ones(3, dtype=torch.long), [1.0, 2.0]]
        + [torch.tensor([1.0, v]) for v in (math.nan, math.inf)],
    )
    def test_refuses_bad_vectors(self, bad: Any) -> None:
        with pytest.raises(InputError, match="'d'"):
            Direction("d", bad)

    @pytest.mark.parametrize("name", ["", " ", "a=b", None])
    def test_refuses_bad_names(self, name: Any) -> None:
        with pytest.raises(InputError, match="direction named"):
            Direction(name, vector(8))


PARSER = EditParser(CATALOGUE, MobileStyleGAN(z_dim=8, w_dim=8, channels=(8, 8), mapping_layers=1))


class TestParse:
    def test_every_form(self) -> None:
        own = Direction("own", vector(8))
        given_ = ["smile", ("age", -3), Edit(own, 0.5), own, [("pose", np.float32(2))]]
        edits = PARSER.parse(given_)
        assert [(e.direction.name, e.strength) for e in edits] == [
            ("smile", 1.0),
            ("age", -3.0),
            ("own", 0.5),
            ("own", 1.0),
            ("pose", 2.0),
        ]
        assert edits[2].direction is own
        assert edits[1].direction is CATALOGUE["age"]

    def test_single_forms(self) -> None:
        assert PARSER.parse(None) == []
        assert PARSER.parse("age") == [Edit(CATALOGUE["age"])]
        assert PARSER.parse(("age", 2)) == [Edit(CATALOGUE["age"], 2.0)]
        assert PARSER.parse(("age", "pose")) == [Edit(CATALOGUE["age"]), Edit(CATALOGUE["pose"])]

    def test_unknown_name_lists_known_ones(self) -> None:
        with pytest.raises(InputError, match="'smiel', there are smile, age, pose; did you mean 'smile'"):
            PARSER.parse("smiel")
        with pytest.raises(InputError, match=r"there are none$"):
            EditParser({}, PARSER.generator).parse("smile")

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, True])
    def test_refuses_bad_strengths(self, bad: Any) -> None:
        with pytest.raises(InputError, match=r"finite number|edit"):
            PARSER.parse(("age", bad))
        with pytest.raises(InputError, match="finite number"):
            Edit(CATALOGUE["age"], bad)

    @pytest.mark.parametrize("bad", [3.0, ["age", -3.0], {"age": 1}, b"age", [None, 7]])
    def test_refuses_anything_else(self, bad: Any) -> None:
        with pytest.raises(InputError, match="edit"):
            PARSER.parse(bad)

    @given(strength=st.floats(-1e9, 1e9))
    def test_text_round_trip(self, strength: float) -> None:
        for text in (f"age={strength!r}", f" age = {strength!r} "):
            assert PARSER.parse(text) == [Edit(CATALOGUE["age"], strength)]

    @pytest.mark.parametrize("text", ["", "=1", "age=", "age=x", "age=nan", "age=1=2", "age=5 degrees"])
    def test_refuses_bad_text(self, text: str) -> None:
        with pytest.raises(InputError, match="expected NAME or NAME=STRENGTH"):
            PARSER.parse(text)

    def test_refuses_endless_strengths(self) -> None:
        with pytest.raises(InputError, match="finite number"):
            PARSER.parse("age=1e999")

    def test_edit_applies(self) -> None:
        ws = vector(1, 4, 8, seed=5)
        assert torch.equal(Edit(CATALOGUE["age"], 2.0).apply(ws), ws + 2 * CATALOGUE["age"].vector)


class TestCatalogue:
    @settings(deadline=None)
    @given(names=st.lists(NAMES, unique=True, max_size=4), data=st.data())
    def test_round_trip(self, names: list[str], data: st.DataObject, tmp_path_factory: Any) -> None:
        folder = tmp_path_factory.mktemp("edits") / "edits"
        shapes = [data.draw(st.sampled_from([(8,), (4, 8)])) for _ in names]
        made = {
            name: Direction(name, vector(*shape, seed=i), f"from {i}", {"hits": i / 10})
            for i, (name, shape) in enumerate(zip(names, shapes, strict=True))
        }
        save_edits(folder, made)
        loaded = load_edits(folder)
        assert list(loaded) == list(made)
        for name, direction in loaded.items():
            want = made[name]
            assert torch.equal(direction.vector, want.vector)
            assert direction.vector.dtype == want.vector.dtype
            assert (direction.name, direction.provenance, dict(direction.metrics)) == (
                (name, want.provenance, dict(want.metrics))
            )

    def test_names_that_are_not_its_own(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="listed as 'old'"):
            save_edits(tmp_path / "edits", {"old": CATALOGUE["age"]})
        assert not (tmp_path / "edits").exists()

    def test_missing(self, tmp_path: Path) -> None:
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
            json.dumps({k + "=": {"provenance": "", "metrics": {}} for k in CATALOGUE}),
        ],
    )
    def test_damaged_config(self, config: str, tmp_path: Path) -> None:
        save_edits(tmp_path / "edits", CATALOGUE)
        (tmp_path / "edits" / "edits.json").write_text(config)
        with pytest.raises(WeightsError) as caught:
            load_edits(tmp_path / "edits")
        assert "\n" not in str(caught.value)

    def test_truncated_vectors(self, tmp_path: Path) -> None:
        save_edits(tmp_path / "edits", CATALOGUE)
        path = tmp_path / "edits" / "edits.safetensors"
        path.write_bytes(path.read_bytes()[:-4])
        with pytest.raises(WeightsError, match="damaged"):
            load_edits(tmp_path / "edits")

    def test_shipped(self) -> None:
        edits = shipped_edits()
        assert list(edits) == ["smile", "age", "pose", "gender", "eyes_open", "mouth_open"]
        for name, direction in edits.items():
            assert direction.vector.shape in {(512,), (16, 512)}
            assert direction.vector.dtype == torch.float32
            assert direction.provenance
            # The label of gender hardly moves further on faces that are clearly male (docs/edits.md).
            assert direction.metrics["hit_rate"] >= (0.925 if name == "gender" else 0.95)
            assert direction.metrics["nearly_monotone_rate"] >= 0.85
            assert direction.metrics["identity_distance"] < 0.5
            assert direction.metrics["shift"] > max(abs(s) for s in direction.metrics["other_shifts"].values())


class TestPublished:
    @pytest.mark.parametrize("shape", [(512,), (1, 512), (1, 1, 512)])
    @pytest.mark.parametrize("suffix", [".npy", ".pt"])
    def test_w(self, shape: tuple[int, ...], suffix: str, tmp_path: Path) -> None:
        direction = load_direction(write(tmp_path / f"age{suffix}", vector(*shape)))
        assert (direction.name, direction.space) == ("age", "W")
        assert torch.equal(direction.vector, vector(*shape).flatten())

    @pytest.mark.parametrize("shape", [(18, 512), (1, 18, 512), (16, 512)])
    @pytest.mark.parametrize("suffix", [".npy", ".pt"])
    def test_w_plus_keeps_first_layers(self, shape: tuple[int, ...], suffix: str, tmp_path: Path) -> None:
        direction = load_direction(write(tmp_path / f"x{suffix}", vector(*shape)))
        assert (direction.name, direction.space) == ("x", "W+")
        assert torch.equal(direction.vector, vector(*shape).reshape(-1, 512)[:16])

    def test_same_layers_are_one(self, tmp_path: Path) -> None:
        path = write(tmp_path / "age.pt", vector(512).expand(1, 18, 512).clone())
        assert torch.equal(load_direction(path).vector, vector(512))

    def test_other_types(self, tmp_path: Path) -> None:
        for tensor in (vector(512).double(), torch.nn.Parameter(vector(512))):
            torch.save(tensor, tmp_path / "age.pt")
            direction = load_direction(tmp_path / "age.pt")
            assert torch.equal(direction.vector, vector(512))
            assert not direction.vector.requires_grad

    @pytest.mark.parametrize("shape", [(511,), (17, 512), (2, 18, 512), (512, 18), ()])
    def test_wrong_shape(self, shape: tuple[int, ...], tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="shape"):
            load_direction(write(tmp_path / "x.npy", vector(*shape)))

    def test_too_few_layers(self, tmp_path: Path) -> None:
        path = write(tmp_path / "x.npy", vector(18, 512))
        assert load_direction(path, num_ws=18).vector.shape == (18, 512)
        with pytest.raises(WeightsError, match="num_ws=20"):
            load_direction(path, num_ws=20)

    @pytest.mark.parametrize("value", [0.0, math.nan])
    def test_no_direction(self, value: float, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="no direction"):
            load_direction(write(tmp_path / "x.npy", torch.full((512,), value)))

    def test_code_is_not_run(self, tmp_path: Path) -> None:
        torch.save(Hostile(tmp_path / "ran"), tmp_path / "x.pt")
        np.save(tmp_path / "x.npy", np.array([Hostile(tmp_path / "ran")], dtype=object), allow_pickle=True)
        for name in ("x.pt", "x.npy"):
            with pytest.raises(WeightsError, match="can't be read safely") as caught:
                load_direction(tmp_path / name)
            assert "\n" not in str(caught.value)
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("content", [{"age": vector(512)}, [vector(512)], torch.arange(512)])
    def test_not_a_tensor_of_numbers(self, content: Any, tmp_path: Path) -> None:
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(WeightsError, match="expected one tensor"):
            load_direction(tmp_path / "x.pt")

    @pytest.mark.parametrize("suffix", [".npy", ".pt"])
    def test_truncated_anywhere(self, suffix: str, tmp_path: Path) -> None:
        path = write(tmp_path / f"x{suffix}", vector(512))
        whole = path.read_bytes()
        for size in [0, 1, 5, 10, 100, len(whole) // 2, len(whole) - 1]:
            path.write_bytes(whole[:size])
            with pytest.raises(WeightsError, match="can't be read safely") as caught:
                load_direction(path)
            assert "\n" not in str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="can't be read"):
            load_direction(tmp_path / "none.npy")


class Hostile:
    """Pickled as a call that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def write(path: Path, tensor: Tensor) -> Path:
    if path.suffix == ".npy":
        np.save(path, tensor.numpy())
    else:
        torch.save(tensor, path)
    return path


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


@pytest.fixture
def learn(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script that learns the shipped directions."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    return importlib.import_module("learn_directions")


def face_labels() -> Any:
    """The module that labels faces, once `learn` has made it known."""
    return importlib.import_module("face_labels")


class TestLearning:
    def test_ridge_recovers_a_linear_map(self, learn: Any) -> None:
        random = np.random.default_rng(0)
        w, b = random.normal(size=(400, 12)), random.normal(size=(12, 3))
        noise = random.normal(size=(400, 3)) * [0.0, 0.0, 100.0]
        found, explained = learn.ridge(w, w @ b + noise)
        np.testing.assert_allclose(found[:, :2], b[:, :2], rtol=0.15, atol=0.05)
        assert (explained[:2] > 0.99).all()
        assert explained[2] < 0.1

    def test_independent_steps_move_one_prediction_each(self, learn: Any) -> None:
        random = np.random.default_rng(0)
        w, b = random.normal(size=(300, 12)) * np.geomspace(0.1, 10, 12), random.normal(size=(12, 3))
        steps = learn.independent(b, w)
        np.testing.assert_allclose(steps @ b, np.eye(3), atol=1e-9)
        # They keep to where W is wide.
        shortest = np.linalg.pinv(b)
        precision = np.linalg.inv(np.cov(w.T))
        assert (np.diag(steps @ precision @ steps.T) < np.diag(shortest @ precision @ shortest.T)).all()

    def test_figures_of_a_perfect_edit(self, learn: Any) -> None:
        labels = np.zeros((len(learn.STRENGTHS), 3, len(learn.LABELS)))
        own, other = learn.LABELS.index("age"), learn.LABELS.index("smile")
        labels[..., own] = 1.5 * np.array(learn.STRENGTHS)[:, None]
        labels[..., other] = 0.2 * np.array(learn.STRENGTHS)[:, None] * [-1, 1, 1]
        figures = learn.figures("age", labels, np.zeros((len(learn.STRENGTHS), 3, 128)))
        assert (figures["hit_rate"], figures["monotone_rate"], figures["shift"]) == (1, 1, 1.5)
        assert (figures["hit_rates"], figures["nearly_monotone_rate"]) == ([1, 1], 1)
        assert figures["other_shifts"]["smile"] == 0.2
        assert figures["other_shifts"]["pose"] == 0
        assert (figures["identity_distance"], figures["identity_below_half"]) == (0, 1)

    def test_figures_of_a_broken_edit(self, learn: Any) -> None:
        labels = np.zeros((len(learn.STRENGTHS), 4, len(learn.LABELS)))
        own = learn.LABELS.index("age")
        labels[..., own] = np.array(learn.STRENGTHS)[:, None]
        labels[:, 0, own] *= -1  # the wrong way
        labels[-1, 1, own] = 0.5  # falls back at strength 2
        labels[-1, 2] = np.nan  # no face at strength 2
        labels[0, 3, own] = -1 + 0.5 * learn.NEARLY  # hardly falls
        figures = learn.figures("age", labels, np.ones((len(learn.STRENGTHS), 4, 128)))
        assert (figures["hit_rate"], figures["monotone_rate"], figures["nearly_monotone_rate"]) == (0.75, 0, 0.25)
        assert figures["shift"] == 0.5
        assert figures["faces_lost"] == 0.05

    def test_samples_without_a_face_are_left_out(self, learn: Any, tmp_path: Path) -> None:
        (tmp_path / "samples").mkdir()
        labels = np.random.default_rng(0).normal(5, 3, (50, len(learn.LABELS)))
        labels[7] = np.nan
        embeddings = np.zeros((50, 128)) + labels[:, :1]
        np.savez(tmp_path / "samples" / "00000.npz", w=vector(50, 4).numpy(), labels=labels, embeddings=embeddings)
        samples = learn.load_samples(tmp_path)
        assert samples.w.shape == (49, 4)
        np.testing.assert_allclose(samples.labels.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(samples.labels.std(axis=0), 1)
        np.testing.assert_allclose(samples.w.mean(axis=0), 0, atol=1e-6)

    def test_gender_is_half_the_networks_and_half_the_embeddings(self, learn: Any) -> None:
        random = np.random.default_rng(0)
        embeddings, weights = random.normal(size=(2000, 128)), random.normal(size=128)
        readout = learn.fit_readout(embeddings, embeddings @ weights + 3)
        np.testing.assert_allclose(readout, [*weights, 3], atol=0.1)
        labels = random.normal(size=(2000, len(learn.LABELS)))
        both = learn.with_readout(labels, embeddings, np.append(weights, 3.0))
        np.testing.assert_allclose(2 * both[:, learn.GENDER] - labels[:, learn.GENDER], embeddings @ weights + 3)
        others = np.arange(len(learn.LABELS)) != learn.GENDER
        np.testing.assert_array_equal(both[:, others], labels[:, others])

    def test_mirror_image_of_landmarks(self, learn: Any) -> None:
        landmarks = np.random.default_rng(0).uniform(0, 511, (68, 2))
        mirrored = face_labels().mirror_landmarks(landmarks, 512)
        np.testing.assert_allclose(face_labels().mirror_landmarks(mirrored, 512), landmarks)
        # Corners of the eyes and the mouth, tip of the nose.
        for here, there in ((36, 45), (39, 42), (48, 54), (60, 64), (30, 30)):
            np.testing.assert_allclose(mirrored[there], (511 - landmarks[here, 0], landmarks[here, 1]))
        assert mouth_openness(mirrored) == pytest.approx(mouth_openness(landmarks))
        assert eye_openness(mirrored) == pytest.approx(eye_openness(landmarks))
