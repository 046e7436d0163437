"""Long work: killed and continued, shared out over processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pti_hub import (
    InputError,
    Personalization,
    PivotalTuner,
    PivotalTunerConfig,
    PTIPipeline,
    WeightsError,
    WProjector,
    WProjectorConfig,
)
from pti_hub.projectors import EncoderProjector

KILLED = """
import os, signal, sys
from safetensors.torch import load_file
from pti_hub import PTIPipeline
pipe = PTIPipeline.from_pretrained(sys.argv[1], device="cpu")
def on_step(step, metrics):
    if step == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
pipe.personalize(load_file(sys.argv[2]), run_folder=sys.argv[3], callback_on_step_end=on_step)
"""


SHARED = """
import sys
from safetensors.torch import load_file
from pti_hub import PTIPipeline
from pti_hub.optim import process_state
pipe = PTIPipeline.from_pretrained(sys.argv[1], device="cpu")
result = pipe.personalize(load_file(sys.argv[2]), run_folder=sys.argv[3])
assert process_state().num_processes == 2
result.save_pretrained(f"{sys.argv[3]}-{process_state().process_index}")
"""


@pytest.fixture
def people() -> dict[str, Tensor]:
    """Three pictures `[3, 64, 64]`, smooth and unlike each other, so that gradients are well above rounding."""
    coarse = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(5)) * 2 - 1
    pictures = torch.nn.functional.interpolate(coarse, size=64, mode="bilinear")
    return {name: picture.clone() for name, picture in zip(("ada", "bob", "eve"), pictures, strict=True)}


@pytest.fixture
def saved(pipe: PTIPipeline, people: dict[str, Tensor], tmp_path: Path) -> list[str]:
    """The pipeline, long enough to be killed, and the pictures, as files for another process."""
    pipe.projector = WProjector(WProjectorConfig(num_steps=60, resolution=64))
    pipe.tuner = PivotalTuner(PivotalTunerConfig(num_steps=25, check_interval=5, lpips_threshold=0.0, batch_size=2))
    pipe.save_pretrained(tmp_path / "pipe")
    save_file(people, tmp_path / "people.safetensors")
    return [str(tmp_path / "pipe"), str(tmp_path / "people.safetensors")]


def test_killed_anywhere_it_goes_on_to_the_same_bits(
    pipe: PTIPipeline, people: dict[str, Tensor], saved: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    seen = {}
    for kill_at in (95, 60 * 3 + 52):  # in the second projection, in the tuning
        command = [sys.executable, "-c", KILLED, *saved, str(run), str(kill_at)]
        assert subprocess.run(command, env=offline(tmp_path)).returncode == -signal.SIGKILL
        seen[kill_at] = {path.name for path in run.iterdir()}
    assert seen[95] == {"run.json", "pivot-0.safetensors", "projection-1.safetensors"}
    assert {"pivot-2.safetensors", "tuning.safetensors"} < seen[60 * 3 + 52]

    steps: list[int] = []
    resumed = pipe.personalize(people, run_folder=run, callback_on_step_end=lambda step, _: steps.append(step))
    assert 60 * 3 < min(steps) <= 60 * 3 + 52
    undisturbed = pipe.personalize(people)
    assert same_bits(resumed, undisturbed)
    assert resumed.metrics == undisturbed.metrics
    assert resumed.settings == undisturbed.settings

    # What is finished is not done again, and leaves no states behind.
    again = pipe.personalize(people, run_folder=run, callback_on_step_end=lambda step, _: steps.clear())
    assert steps and same_bits(again, undisturbed)
    assert {path.name for path in run.iterdir()} == {"run.json", "personalization"}


def test_a_call_with_several_photographs_keeps_a_run_each(
    pipe: PTIPipeline, people: dict[str, Tensor], tmp_path: Path
) -> None:
    out = pipe([people["ada"], people["bob"]], run_folder=tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["0", "1"]
    again = pipe([people["ada"], people["bob"]], "smile", run_folder=tmp_path / "run")
    assert all(same_bits(*pair) for pair in zip(out.personalizations, again.personalizations, strict=True))
    assert [image.tobytes() for image in again.reconstruction] == [image.tobytes() for image in out.images]


@pytest.mark.parametrize("change", ["seed", "photographs", "order", "tuner", "base"])
def test_a_run_folder_of_another_configuration(
    pipe: PTIPipeline, people: dict[str, Tensor], tmp_path: Path, change: str
) -> None:
    pipe.personalize(people, run_folder=tmp_path / "run")
    seed = 0
    if change == "seed":
        seed = 1
    elif change == "photographs":
        people["eve"] = people["eve"].flip(2)
    elif change == "order":
        people, change = dict(reversed(people.items())), "photographs"
    elif change == "tuner":
        pipe.tuner = PivotalTuner(PivotalTunerConfig(num_steps=7))
    else:
        pipe.generator.conv.bias.data += 0.5  # type: ignore[attr-defined]
        pipe.generator = pipe.generator
    with pytest.raises(InputError, match=rf"holds a run with another {change};") as caught:
        pipe.personalize(people, seed=seed, run_folder=tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_run_folder_of_another_encoder(pipe: PTIPipeline, people: dict[str, Tensor], tmp_path: Path) -> None:
    class Encoder(torch.nn.Linear):
        resolution = 1

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.flatten(1))

    for _ in range(2):
        pipe.projector = EncoderProjector(Encoder(3, 16))
        if (tmp_path / "run").exists():
            with pytest.raises(InputError, match="another encoder"):
                pipe.personalize(people, run_folder=tmp_path / "run")
        else:
            pipe.personalize(people, run_folder=tmp_path / "run")


def test_finished_states_are_removed_and_strangers_are_not(
    pipe: PTIPipeline, people: dict[str, Tensor], tmp_path: Path
) -> None:
    done = pipe.personalize(people, run_folder=tmp_path / "run")
    # As after a kill between the result and the removal of the states.
    for name in ("tuning.safetensors", "pivot-1.safetensors", ".0123456789abcdef.partial", "mine.safetensors"):
        (tmp_path / "run" / name).write_bytes(b"")
    assert same_bits(pipe.personalize(people, run_folder=tmp_path / "run"), done)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"run.json", "personalization", "mine.safetensors"}


def test_a_run_folder_keeps_no_photograph(pipe: PTIPipeline, people: dict[str, Tensor], tmp_path: Path) -> None:
    pipe.personalize(people, run_folder=tmp_path / "run")
    config = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [(name, len(value)) for name, value in config["photographs"]] == [(name, 64) for name in people]
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors", ".md"}


def test_a_run_folder_of_something_else(pipe: PTIPipeline, people: dict[str, Tensor], tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(InputError, match="holds something else"):
        pipe.personalize(people, run_folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


def test_a_run_folder_whose_making_was_killed(pipe: PTIPipeline, people: dict[str, Tensor], tmp_path: Path) -> None:
    (tmp_path / ".0123456789abcdef.partial").write_text('{"ver')
    assert set(pipe.personalize(people, run_folder=tmp_path).pivots) == set(people)
    assert not (tmp_path / ".0123456789abcdef.partial").exists()


@pytest.mark.parametrize("damaged", [True, False])
def test_a_damaged_or_foreign_state_is_one_line(
    pipe: PTIPipeline, people: dict[str, Tensor], tmp_path: Path, damaged: bool
) -> None:
    with pytest.raises(KeyboardInterrupt):
        pipe.personalize(people, run_folder=tmp_path / "run", callback_on_step_end=interrupt)
    state = tmp_path / "run" / "tuning.safetensors"
    if damaged:
        state.write_bytes(bytes(20))
    else:
        save_file({"step": torch.tensor(2)}, state)
    with pytest.raises(WeightsError, match="delete it") as caught:
        pipe.personalize(people, run_folder=tmp_path / "run")
    assert "\n" not in str(caught.value)
    state.unlink()
    assert same_bits(pipe.personalize(people, run_folder=tmp_path / "run"), pipe.personalize(people))


def test_two_processes_give_what_one_gives(
    pipe: PTIPipeline, people: dict[str, Tensor], saved: list[str], tmp_path: Path
) -> None:
    script = tmp_path / "shared.py"
    script.write_text(SHARED)
    config = PivotalTunerConfig(num_steps=10, lpips_threshold=0.0, batch_size=2, locality_alpha=3.0)
    pipe.projector, pipe.tuner = WProjector(WProjectorConfig(num_steps=5, resolution=64)), PivotalTuner(config)
    pipe.save_pretrained(saved[0])
    # What `accelerate launch` runs; by itself it starts several processes on CPUs only through MPI.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**offline(tmp_path), "ACCELERATE_USE_CPU": "true"}
    subprocess.run([*launch, *saved, str(tmp_path / "run")], check=True, env=environment)
    one = pipe.personalize(people)
    two, other = (Personalization.from_pretrained(tmp_path / f"run-{rank}") for rank in (0, 1))
    assert same_bits(two, other)
    for name, pivot in one.pivots.items():
        torch.testing.assert_close(two.pivots[name], pivot, rtol=1e-3, atol=1e-3)
        assert two.metrics[name]["lpips"] == pytest.approx(one.metrics[name]["lpips"], rel=1e-3)
    # Adam makes a step of its own rate out of the smallest gradient, whichever way rounding turns it.
    moved = torch.cat([delta.flatten() for delta in one.deltas.values()])
    apart = torch.cat([two.deltas[name].flatten() for name in one.deltas]) - moved
    assert apart.norm() < 0.02 * moved.norm()


def interrupt(step: int, metrics: dict[str, float]) -> None:
    """Stops in the tuning."""
    if metrics["stage"] == "tune":
        raise KeyboardInterrupt


def same_bits(a: Personalization, b: Personalization) -> bool:
    ours, theirs = ({**p.deltas, **p.pivots} for p in (a, b))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def offline(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
