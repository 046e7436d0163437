"""Lets several processes do the same work in the same place at the same moment, and looks at what comes of it.

    python tests/campaigns/races.py --count 50 --seed 0

Saves of different content go on in one folder, while another process loads it: what it gets must be one of the
contents, whole. Long work, such as a personalisation with a run folder, is begun by two processes at once; one of them
may end with an error of the package's. Once all are done, the content must be whole, and nothing hidden left beside it.
The script prints a table, and exits with 1 if anything failed. It needs a system with fork.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import typer
from kills import TARGET, Campaign, Kind, hidden, make_kinds
from reports import finish, redirect, shares

from pti_hub import Personalization, PTIError, PTIPipeline
from pti_hub.storage import atomic

WRITERS, SAVES = 3, 6
REFUSED = 7
"""Exit code of a process that ended with one of the package's errors."""


def main(
    count: Annotated[int, typer.Option(min=1, help="Number of races, of all kinds together.")] = 50,
    seed: Annotated[int, typer.Option(help="Seed of who does what.")] = 0,
    only: Annotated[str, typer.Option(help="Kinds whose names begin like this; all by default.")] = "",
) -> None:
    """Let processes race, and print what came of it."""
    torch.set_num_threads(1)
    kinds = [kind for kind in make_kinds() if kind.name.startswith(only)]
    failures = []
    print(f"seed {seed}")
    print(f"| {'kind':28} | races | loads | refused | failed |")
    for kind, share in shares(count, kinds):
        with TemporaryDirectory() as folder:
            race = Race(kind, Path(folder), random.Random(f"{seed}/{kind.name}"))
            for _ in range(share):
                race.run()
        failures += [f"{kind.name}: {failure}" for failure in race.failures]
        print(
            f"| {kind.name:28} | {share:5} | {race.loads:5} | {race.refused:7} | {len(race.failures):6} |", flush=True
        )
    finish(failures)


class Race:
    """The races of one kind.

    Args:
        kind: The kind.
        folder: An empty folder for all of it.
        random: Where the choice of content comes from.
    """

    def __init__(self, kind: Kind, folder: Path, random: random.Random) -> None:
        self.kind, self.folder, self.random = kind, folder, random
        self.alone = Campaign(kind, folder, random)
        self.loads, self.refused = 0, 0
        self.failures: list[str] = []
        load = kind.load
        self.known = load and [parts(load(folder / f"undisturbed-{version}" / TARGET)) for version in (0, 1)]

    def run(self) -> None:
        """One race."""
        place = self.folder / "place"
        place.mkdir()
        count, times = (WRITERS, SAVES) if self.kind.load else (2, 1)
        # Long work is the same in both processes: a run folder is for one job.
        jobs = [[self.random.randint(0, 1) if self.kind.load else 1 for _ in range(times)] for _ in range(count)]
        running = {self.fork(place, versions) for versions in jobs}
        while running:
            if self.known:
                self.load(place / TARGET)
            for pid in list(running):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    running.remove(pid)
                    self.ended(os.waitstatus_to_exitcode(status))
        self.look(place)
        shutil.rmtree(place)

    def load(self, target: Path) -> None:
        """Read what is there right now."""
        assert self.kind.load is not None
        there = target.exists()
        try:
            found = parts(self.kind.load(target))
        except PTIError as error:
            # Before the first save there is nothing to load.
            if there and self.kind.exchanges:
                self.failures.append(f"it did not load: {error}")
            return
        except Exception:
            self.failures.append(f"a foreign error: {traceback.format_exc(limit=-2)}")
            return
        self.loads += 1
        if found not in (self.known or []):
            self.failures.append(f"a mixture was loaded: {str(found)[:100]}")

    def ended(self, code: int) -> None:
        """A process has ended."""
        if code == REFUSED:
            self.refused += 1
            if self.kind.load:
                self.failures.append("a save failed; see above")
        elif code:
            self.failures.append(f"a process ended with {code}; see above")

    def look(self, place: Path) -> None:
        """What there is when all are done."""
        if size := hidden(place):
            self.failures.append(f"{size} bytes are left in hidden files")
        if self.kind.load is None:
            # One of them may have been refused; whoever does the work again gets the whole.
            self.alone.undisturbed(place, 1)
        if self.alone.tree(place / TARGET) not in self.alone.expected:
            self.failures.append("the content is none of those saved")

    def fork(self, place: Path, versions: list[int]) -> int:
        """Save these versions, one after the other, in a process of its own."""
        if pid := os.fork():
            return pid
        code = 1
        errors = redirect(os.open(os.devnull, os.O_WRONLY))
        try:
            if not self.kind.exchanges:
                atomic._exchange = lambda a, b: False
            for version in versions:
                self.kind.work(place / TARGET, version)
            code = 0
        except PTIError as error:
            os.write(errors, f"{self.kind.name}: {error}\n".encode())
            code = REFUSED
        except BaseException:
            os.write(errors, traceback.format_exc().encode())
        finally:
            os._exit(code)


def parts(loaded: object) -> list[object]:
    """What differs between two versions, of each file that they are saved in."""
    if isinstance(loaded, PTIPipeline):
        weights = [float(weight.detach().sum()) for weight in loaded.generator.parameters()]
        return [loaded.name, list(loaded.edits), weights]
    if isinstance(loaded, Personalization):
        return [list(loaded.pivots), [float(delta.sum()) for delta in loaded.deltas.values()]]
    assert isinstance(loaded, dict)
    return [(name, float(edit.vector.sum())) for name, edit in loaded.items()]


if __name__ == "__main__":
    typer.run(main)
