"""Kills processes at random moments of saving and of long work, and looks at what is left.

    python tests/campaigns/kills.py --count 1000 --seed 0

Each kind of work is killed about as often as the others, half of the time after a random time, half of the time before
a random one of its operations on files. After each kill, a saved folder must hold the old or the new content, whole,
and load, with the user's own files in it; after the next save that nobody kills, nothing else may be there. Long work
that was killed and resumed must leave the same files, byte for byte, as work that was not. A save that is stopped while
another one is done in its place must go on and succeed. The script prints a table, and exits with 1 if anything failed.
It needs a system with fork.
"""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import numpy as np
import torch
import train_encoder
import typer
from encoder_training import teacher
from encoder_training.settings import Settings
from PIL import Image
from reports import digests, finish, redirect, shares
from support.networks import tame_stylegan2

from pti_hub import Personalization, PivotalTuner, PivotalTunerConfig, PTIPipeline, WProjector, WProjectorConfig
from pti_hub.edits import Direction, load_edits, save_edits
from pti_hub.edits.learning import Samples
from pti_hub.perceptual import LPIPS
from pti_hub.storage import atomic

TARGET = "made"
OWN = ("mine.txt", "mine/deeper.txt")  # files that a user put into a saved folder
KILLS = 4  # at most so many, one after the other, before the next save that nobody kills
FILE_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "os.listdir", "fcntl.flock"}


class Failure(Exception):
    """What a kill led to and must not."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of work.

    Attributes:
        name: Its name in the table.
        work: Writes a version, 0 or 1, of the content into a folder.
        load: Reads the folder; `None` for long work, which is resumed and whose folder nothing else reads.
        exchanges: Whether the file system may swap two folders in one step.
        timed: Files that hold times, and so are never the same twice.
    """

    name: str
    work: Callable[[Path, int], None]
    load: Callable[[Path], object] | None = None
    exchanges: bool = True
    timed: frozenset[str] = frozenset()


@dataclasses.dataclass
class Tally:
    """What was tried and what came of it.

    Attributes:
        kills: Processes that were killed.
        late: Processes that were done before.
        failures: What went wrong, a line each.
        left: Bytes in hidden files and folders after the last kill in each place.
        stray: Such bytes after the next save that nobody killed.
    """

    kills: int = 0
    late: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    left: int = 0
    stray: int = 0


def main(
    count: Annotated[int, typer.Option(min=1, help="Number of kills, of all kinds together.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the moments.")] = 0,
    only: Annotated[str, typer.Option(help="Kinds whose names begin like this; all by default.")] = "",
) -> None:
    """Kill work of every kind, and print what came of it."""
    torch.set_num_threads(1)
    kinds = [kind for kind in make_kinds() if kind.name.startswith(only)]
    if not kinds:
        raise typer.BadParameter(f"--only {only}; expected the beginning of a kind's name, such as run")
    print(f"seed {seed}")
    print(f"| {'kind':28} | kills | too late | failed | MB left | MB after a save | seconds |")
    failures = []
    for kind, share in shares(count, kinds):
        with TemporaryDirectory() as folder:
            start = time.perf_counter()
            tally = Campaign(kind, Path(folder), random.Random(f"{seed}/{kind.name}")).run(share)
            seconds = time.perf_counter() - start
        failures += [f"{kind.name}: {failure}" for failure in tally.failures]
        row = f"| {kind.name:28} | {tally.kills:5} | {tally.late:8} | {len(tally.failures):6} "
        print(f"{row}| {tally.left / 1e6:7.1f} | {tally.stray / 1e6:15.1f} | {seconds:7.0f} |", flush=True)
    finish(failures)


class Campaign:
    """The kills of one kind.

    Args:
        kind: The kind.
        folder: An empty folder for all of it.
        random: Where the moments come from.
    """

    def __init__(self, kind: Kind, folder: Path, random: random.Random) -> None:
        self.kind, self.folder, self.random = kind, folder, random
        # What is imported late is imported before the children are forked.
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            kind.work(folder / "warm", 0)
        self.expected: list[dict[str, str]] = []
        for version in (0, 1):
            place = folder / f"undisturbed-{version}"
            place.mkdir()
            start = time.perf_counter()
            self.events = self.undisturbed(place, version)
            self.seconds = time.perf_counter() - start
            self.expected.append(self.tree(place / TARGET))

    def run(self, count: int) -> Tally:
        """Kill so often, in as many places as that takes."""
        tally, place = Tally(), self.folder / "place"
        while tally.kills < count and len(tally.failures) < 20:
            place.mkdir()
            try:
                self.trial(place, tally, min(self.random.randint(1, KILLS), count - tally.kills))
            except Failure as failure:
                tally.failures.append(str(failure))
            shutil.rmtree(place)
        return tally

    def trial(self, place: Path, tally: Tally, kills: int) -> None:
        """Kill work in one place a few times, then let it be done.

        Raises:
            Failure: Something is broken, missing, or too much.
        """
        target, has_old = place / TARGET, self.kind.load is not None and self.random.random() < 0.7
        if has_old:
            self.undisturbed(place, 0)
            for name in OWN:
                (target / name).parent.mkdir(exist_ok=True)
                (target / name).write_text(name)
        for _ in range(kills):
            moment = self.moment()
            if self.killed(place, moment):
                tally.kills += 1
            else:
                tally.late += 1
            if self.kind.load is not None:
                self.check(target, has_old, self.expected, f"killed {moment}")
        tally.left += hidden(place)
        if self.kind.load is not None and self.kind.exchanges:
            self.overtake(place)
        self.undisturbed(place, 1)
        tally.stray += hidden(place)
        self.check(target, has_old, self.expected[1:], "done")
        if extra := {path.name for path in place.iterdir()} - {TARGET}:
            raise Failure(f"the next save leaves {', '.join(sorted(extra))}")

    def check(self, target: Path, has_old: bool, expected: list[dict[str, str]], when: str) -> None:
        """Look at what is there.

        Raises:
            Failure: It is not one of the expected contents, does not load, or lacks the user's files.
        """
        if self.kind.load is not None:
            try:
                self.kind.load(target)
            except Exception as error:
                if has_old or target.exists():
                    raise Failure(f"{when}: does not load: {error}") from error
                return
        found = self.tree(target)
        own = {name: found.pop(name, None) for name in OWN}
        if has_old and None in own.values():
            raise Failure(f"{when}: the user's files are gone")
        if found not in expected:
            closest = min(expected, key=lambda wanted: len(found.items() ^ wanted.items()))
            names = sorted({name for name, _ in found.items() ^ closest.items()})
            raise Failure(f"{when}: neither old nor new: {', '.join(names)}")

    def tree(self, folder: Path) -> dict[str, str]:
        """Digests of all files of a folder, by their names."""
        return digests(folder, self.kind.timed)

    def moment(self) -> float | int:
        """A time in seconds, or the number of an operation on files."""
        if self.random.random() < 0.5:
            return round(self.random.uniform(0, 1.02 * self.seconds), 4)
        return self.random.randint(1, self.events)

    def undisturbed(self, place: Path, version: int) -> int:
        """Do the work in a child, and return the number of its operations on files."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            self.child(place, version, None, write)
        os.close(write)
        with open(read, "rb") as pipe:
            events = pipe.read()
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
            raise Failure("work that nobody killed failed; see above")
        return int(events)

    def overtake(self, place: Path) -> None:
        """Stop a save half way, let another one be done in its place, and let the first go on.

        Raises:
            Failure: Either of them fails.
        """
        pid = os.fork()
        if pid == 0:
            self.child(place, 1, self.random.randint(1, self.events), sends=signal.SIGSTOP)
        status = os.waitpid(pid, os.WUNTRACED)[1]
        if os.WIFSTOPPED(status):
            try:
                self.undisturbed(place, 1)
            finally:
                os.kill(pid, signal.SIGCONT)
                status = os.waitpid(pid, 0)[1]
        if status:
            raise Failure("a save that was overtaken by another one failed; see above")

    def killed(self, place: Path, moment: float | int) -> bool:
        """Do the work in a child and kill it, unless it is done before."""
        pid = os.fork()
        if pid == 0:
            self.child(place, 1, moment if isinstance(moment, int) else None)
        if isinstance(moment, float):
            time.sleep(moment)
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code not in (0, -signal.SIGKILL):
            raise Failure(f"work after a kill failed with {code}; see above")
        return code != 0

    def child(
        self,
        place: Path,
        version: int,
        last: int | None,
        pipe: int | None = None,
        sends: int = signal.SIGKILL,
    ) -> None:
        """The work, in a process of its own, which gets a signal before the given operation on files and ends here."""
        seen, code = 0, 1

        def count(event: str, _: object) -> None:
            nonlocal seen
            if event in FILE_EVENTS:
                seen += 1
                if seen == last:
                    os.kill(os.getpid(), sends)

        # Bars and notes are of no use here.
        errors = redirect(os.open(os.devnull, os.O_WRONLY))
        try:
            if not self.kind.exchanges:
                atomic._exchange = lambda a, b: False
            sys.addaudithook(count)
            self.kind.work(place / TARGET, version)
            if pipe is not None:
                os.write(pipe, str(seen).encode())
            code = 0
        except BaseException:
            os.write(errors, traceback.format_exc().encode())
        finally:
            os._exit(code)


def make_kinds() -> list[Kind]:
    """All kinds, with what they save."""
    pipes = [make_pipeline(version) for version in (0, 1)]
    people = [
        Personalization(
            {name: torch.full_like(p, version) for name, p in pipes[0].generator.named_parameters()},
            {f"ada{i}": torch.full((16,), float(i)) for i in range(1 + version)},
            pipes[0].base,
        )
        for version in (0, 1)
    ]

    def personalize(folder: Path, version: int) -> None:
        pipes[0].personalize({"ada": photograph(0)}, seed=version, run_folder=folder)

    def sample(folder: Path, version: int) -> None:
        samples = Samples(pipes[0].generator, 60, folder, seed=version, progress_bar_config={"disable": True})
        samples.measure(lambda pictures: [float(np.asarray(picture).mean()) for picture in pictures], "light")

    def teach(folder: Path, version: int) -> None:
        teacher.LOG_STEPS = 3
        train_encoder.train(folder, pipes[0], make_settings(version), None, None, None, half=True)

    saves = {
        "pipeline": (lambda folder, i: pipes[i].save_pretrained(folder), load_pipeline),
        "personalisation": (lambda folder, i: people[i].save_pretrained(folder), Personalization.from_pretrained),
        "edits": (lambda folder, i: save_edits(folder, pipes[i].edits), load_edits),
    }
    return [
        *(Kind(name, work, load) for name, (work, load) in saves.items()),
        *(Kind(f"{name}, two renames", work, load, exchanges=False) for name, (work, load) in saves.items()),
        Kind("run folder", personalize),
        Kind("samples", sample),
        Kind("encoder", teach, timed=frozenset({"log.jsonl", "curves.png", "state.safetensors"})),
    ]


def make_pipeline(version: int) -> PTIPipeline:
    """A pipeline of tiny networks; two versions have other weights and other edits.

    A loop has one step more than there are between two checkpoints.
    """
    generator = tame_stylegan2()
    with torch.no_grad():
        for weight in generator.parameters():
            weight.mul_(1 + version / 100)
    torch.manual_seed(version)
    pipe = PTIPipeline(
        generator,
        LPIPS("alex"),
        projector=WProjector(WProjectorConfig(num_steps=26, resolution=64)),
        tuner=PivotalTuner(PivotalTunerConfig(num_steps=26, check_interval=13, lpips_threshold=0.0)),
        edits={name: Direction(name, torch.randn(16), "random") for name in ("smile", "age")[: 1 + version]},
        aligns_faces=False,
        name=f"tiny {version}",
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def make_settings(seed: int) -> Settings:
    """A short training of an encoder, with steps of both kinds."""
    sizes = {"size": 32, "picture_size": 32, "resolution": 64, "batch_size": 8, "preconditioner_samples": 64}
    rates = {"learning_rate": 1e-3, "picture_rate": 3e-4, "body_rate": 0.2}
    weights = {"lpips_weight": 0.1, "l2_weight": 1.0, "identity_weight": 0.0, "offset_weight": 0.1}
    steps = {"steps": 5, "picture_steps": 4, "picture_share": 0.25}
    numbers: dict[str, Any] = {**sizes, **rates, **weights, **steps}
    return Settings(samples=128, truncation=(0.6, 1.0), space="w", seed=seed, **numbers)


def photograph(seed: int) -> Image.Image:
    """A smooth picture."""
    coarse = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)


def load_pipeline(folder: Path) -> PTIPipeline:
    """A saved pipeline."""
    return PTIPipeline.from_pretrained(folder, device="cpu")


def hidden(folder: Path) -> int:
    """Bytes below a folder in files that are hidden, or in hidden folders."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if "/." in f"/{path.relative_to(folder).as_posix()}")


if __name__ == "__main__":
    typer.run(main)
