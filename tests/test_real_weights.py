"""The main job on the real weights and a real photograph, at few steps."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.types import RenderElsewhere

from pti_hub import (
    FaceError,
    PivotalTuner,
    PivotalTunerConfig,
    PTIOutput,
    PTIPipeline,
    WeightsError,
    WProjector,
    WProjectorConfig,
)
from pti_hub.edits import shipped_edits
from pti_hub.faces import FaceAnalyzer, head_pose, is_aligned
from pti_hub.generators import tuned_synthesis
from pti_hub.images import load_image, to_tensor
from pti_hub.personalization import add_deltas
from pti_hub.pipelines import export_identity
from pti_hub.pipelines.pretrained import cache_folder


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    data = pytest.importorskip("skimage.data")
    picture: np.ndarray = data.astronaut()
    return picture


@pytest.fixture(scope="module")
def output(real_pipe: PTIPipeline, astronaut: np.ndarray) -> PTIOutput:
    real_pipe.projector = WProjector(WProjectorConfig(num_steps=6))
    real_pipe.tuner = PivotalTuner(PivotalTunerConfig(num_steps=6, check_interval=2))
    return real_pipe(astronaut, edit="smile")


def test_tuning_brings_the_picture_nearer(real_pipe: PTIPipeline, output: PTIOutput) -> None:
    assert output.images[0].size == output.aligned[0].size == (1024, 1024)
    target, projection = to_tensor(output.aligned[0]), to_tensor(output.projection[0])
    before = real_pipe.perceptual(projection, target).item()
    assert output.metrics[0]["lpips"] < before - 0.05
    assert output.metrics[0]["mse"] < (projection - target).square().mean().item()


def test_the_edit_shows(output: PTIOutput) -> None:
    difference = np.asarray(output.images[0]).astype(int) - np.asarray(output.reconstruction[0])
    assert np.abs(difference).mean() > 1


@pytest.mark.parametrize("degrees", [5, -10])
def test_the_head_turns_as_far_as_asked(real_pipe: PTIPipeline, output: PTIOutput, degrees: int) -> None:
    turned = real_pipe(output.personalization, edit=["smile", f"pose={degrees}deg"])
    smiling = real_pipe(output.personalization, edit="smile")
    yaw = [head_pose(FaceAnalyzer().detect(out.images[0])[0].landmarks).yaw for out in (smiling, turned)]
    assert yaw[1] - yaw[0] == pytest.approx(degrees, abs=0.5)
    assert turned.edits[0][1].strength * degrees > 0


def test_the_corners_of_the_mouth_go_where_they_are_dragged(real_pipe: PTIPipeline, output: PTIOutput) -> None:
    person, corners = output.personalization, [48, 54]
    before = FaceAnalyzer().detect(output.reconstruction[0])[0].landmarks[corners]
    targets = before + np.array([[-8, -16], [8, -16]])
    dragged = real_pipe.drag(person, [(tuple(a), tuple(b)) for a, b in zip(before, targets, strict=True)])
    assert dragged.arrived == [True, True]
    after = FaceAnalyzer().detect(dragged.image)[0].landmarks[corners]
    # dlib did not take part: 3 px of a picture at 256² are 12 px here.
    assert np.linalg.norm(after - targets, axis=1).max() < 12


def test_the_exported_graph_gives_the_same_picture(real_pipe: PTIPipeline, output: PTIOutput, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    export_identity(real_pipe, tmp_path / "astronaut.onnx", output.personalization)
    session = onnxruntime.InferenceSession(tmp_path / "astronaut.onnx")
    pivot = np.array(json.loads(session.get_modelmeta().custom_metadata_map["pivot"]), np.float32)
    ws = pivot[None] + real_pipe.edits["smile"].vector.numpy()  # type: ignore[union-attr]
    (picture,) = session.run(None, {"ws": ws})
    weights = add_deltas(real_pipe.generator, output.personalization.deltas)
    expected = tuned_synthesis(real_pipe.generator, weights, torch.from_numpy(ws))
    assert picture.shape == (1, 3, 1024, 1024)
    assert np.abs(picture - expected.numpy()).max() < 1e-3


def test_saved_and_loaded_offline_it_gives_the_same_bits(
    real_pipe: PTIPipeline, output: PTIOutput, tmp_path: Path, render_elsewhere: RenderElsewhere
) -> None:
    real_pipe.load_personalization(output.personalization)
    real_pipe.save_pretrained(tmp_path / "saved")
    elsewhere = render_elsewhere(tmp_path / "saved", "subject", "smile")
    np.testing.assert_array_equal(elsewhere, np.asarray(output.images[0]))


def test_the_known_checkpoint(real_pipe: PTIPipeline) -> None:
    assert list(real_pipe.edits) == list(shipped_edits())
    licences = " ".join(origin["licence"] for origin in real_pipe.origins)
    assert "non-commercial" in licences
    assert "300-W" in licences
    card = real_pipe.generate_model_card().content
    assert all(origin["origin"] in card and origin["licence"] in card for origin in real_pipe.origins)


def test_the_known_checkpoint_is_built_once(real_pipe: PTIPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pti_hub.storage.packages.importlib.util.find_spec", lambda name: None)
    again = PTIPipeline.from_pretrained("pti-hub/mobilestylegan-ffhq", device="cpu")
    for name, value in real_pipe.generator.state_dict().items():
        assert torch.equal(again.generator.state_dict()[name], value)


BUILD = """
from pti_hub import PTIPipeline
print(PTIPipeline.from_pretrained("pti-hub/mobilestylegan-ffhq", device="cpu").base.fingerprint)
"""


def test_two_processes_build_the_known_checkpoint_at_once(real_pipe: PTIPipeline, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-c", BUILD]
    building = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    told = [process.communicate()[0].strip() for process in building]
    assert told == 2 * [real_pipe.base.fingerprint]
    assert not list(tmp_path.rglob(".*"))


def test_the_command_in_the_error_mends_a_damaged_cache(real_pipe: PTIPipeline) -> None:
    path = cache_folder("pti-hub/mobilestylegan-ffhq") / "generator" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError) as caught:
        PTIPipeline.from_pretrained("pti-hub/mobilestylegan-ffhq", device="cpu")
    command = str(caught.value).split("have it built again: ")[1]
    subprocess.run(shlex.split(command), check=True)
    PTIPipeline.from_pretrained("pti-hub/mobilestylegan-ffhq", device="cpu")


def test_two_faces_are_named(real_pipe: PTIPipeline, astronaut: np.ndarray) -> None:
    pair = np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)
    with pytest.raises(FaceError, match=r"2 faces found: face=0 at .*face=1 at .*choose with face="):
        real_pipe.invert(pair)


def test_an_aligned_portrait_is_left_alone(portraits: list[Path]) -> None:
    picture = load_image(portraits[0])
    assert is_aligned(picture, FaceAnalyzer().detect(picture)[0].landmarks, 1024)


def test_a_face_too_blurred_to_find(real_pipe: PTIPipeline) -> None:
    with pytest.raises(FaceError, match="no face found"):
        real_pipe.invert(Image.new("RGB", (300, 200), "gray"))
