"""Hostile files: everything that is read, damaged in every way, must load or end in one of the package's own errors.

    python tests/campaigns/mutants.py --count 10000 --seed 0
    python tests/campaigns/mutants.py --first 4711 --count 1 --seed 0    # one mutant again, with its traceback

A mutant fails by any other exception, a message that is too long or can't be printed, code that was run, 5 seconds of
the processor, 300 MB more memory, or the end of the process.
"""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

os.environ |= {"HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true", "TQDM_DISABLE": "1"}
sys.path.append(str(Path(__file__).parents[1]))

import torch
import typer
from damage import damaged
from kinds import Kind, make_kinds

from pti_hub import PTIError

SECONDS, MEGABYTES, CHARACTERS = 5.0, 300, 600
PER_CHILD, PATIENCE = 250, 60
LOADED, REFUSED = "loaded", "refused"


def main(
    count: Annotated[int, typer.Option(help="Number of mutants.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the damage.")] = 0,
    first: Annotated[int, typer.Option(help="Number of the first mutant.")] = 0,
    only: Annotated[str, typer.Option(help="Kinds whose names hold this text.")] = "",
) -> None:
    """Damage files and read them, and print what failed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder, marker = Path(name) / "whole", Path(name) / "code-was-run"
        folder.mkdir()
        kinds = [kind for kind in make_kinds(folder, marker) if only in kind.name]
        results = list(_tried(kinds, range(first, first + count), seed, Path(name) / "mutant", marker))
    _print(results, seed, time.perf_counter() - start)
    sys.exit(any(result["outcome"] not in (LOADED, REFUSED) for result in results))


def _tried(kinds: list[Kind], numbers: range, seed: int, place: Path, marker: Path) -> Iterator[dict[str, Any]]:
    """What became of each mutant; a process that ends is followed by one that goes on behind its mutant."""
    while numbers:
        part, last = numbers[:PER_CHILD], None
        reader, writer = os.pipe()
        if not (child := os.fork()):
            os.close(reader)
            _child(kinds, part, seed, place, marker, os.fdopen(writer, "w"))
        os.close(writer)
        with os.fdopen(reader) as lines:
            for line in lines:
                last = json.loads(line)
                if "outcome" in last:
                    yield last
        _, status = os.waitpid(child, 0)
        # A process that ends before it says what became of a mutant was ended by that mutant.
        if last is not None and "outcome" not in last:
            yield {**last, "outcome": f"ended the process, with {os.waitstatus_to_exitcode(status)}"}
        elif last is None:
            raise SystemExit(f"error: a process ended before its first mutant, with status {status}")
        numbers = range(last["number"] + 1, numbers.stop)


def _child(kinds: list[Kind], numbers: range, seed: int, place: Path, marker: Path, out: Any) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2) if len(numbers) > 1 else ():
        os.dup2(null, stream)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (2 << 30),) * 2)
    signal.signal(signal.SIGPROF, _too_late)
    before = _peak()
    for number in numbers:
        chance = random.Random(f"{seed} {number}")
        kind = chance.choice(kinds)
        file = chance.choice(kind.files)
        result = {"number": number, "kind": kind.name, "file": file}
        print(json.dumps(result), file=out, flush=True)
        _plant(kind, file, place, chance)
        # Where C code never comes back to Python, the process ends.
        signal.alarm(PATIENCE)
        outcome = _outcome(kind, place, alone=len(numbers) == 1)
        signal.alarm(0)
        if marker.exists():
            outcome = "ran code"
            marker.rmdir()
        full = _peak() - before > MEGABYTES << 10
        if full and outcome in (LOADED, REFUSED):
            outcome = f"took {MEGABYTES} MB"
        print(json.dumps({**result, "outcome": outcome}), file=out, flush=True)
        if full:
            break
    os._exit(0)


def _plant(kind: Kind, file: str, place: Path, chance: random.Random) -> None:
    """The folder of a kind in which one file is damaged."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(kind.folder, place, copy_function=os.link)
    if kind.name == "pictures":
        for other in kind.files:
            if other != file:
                (place / other).unlink()
    content, other = ((kind.folder / name).read_bytes() for name in (file, chance.choice(kind.files)))
    (place / file).unlink()
    (place / file).write_bytes(damaged(content, file, [content, other], chance, kind.remakes.get(Path(file).name)))


def _outcome(kind: Kind, place: Path, alone: bool) -> str:
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        kind.read(place)
    except PTIError as error:
        if alone:
            traceback.print_exc()
        return _complaint(error)
    except BaseException as error:
        if alone:
            traceback.print_exc()
        return type(error).__name__
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return LOADED


def _complaint(error: PTIError) -> str:
    """`REFUSED`, or what is wrong with an error's message."""
    message = str(error)
    if not message.isprintable():
        return "message can't be printed"
    if len(message) > CHARACTERS:
        return f"message of more than {CHARACTERS} characters"
    cause: BaseException | None = error
    while cause is not None:
        # An allocation that is refused here would be the end of a smaller machine.
        if isinstance(cause, MemoryError) or "allocate memory" in str(cause):
            return "asked for all memory"
        cause = cause.__cause__ or cause.__context__
    return REFUSED


def _too_late(*_: Any) -> None:
    raise TooLate


class TooLate(BaseException):
    """A mutant took too long; no reader takes this for a damaged file."""


def _peak() -> int:
    """The most memory that this process has had, in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _print(results: list[dict[str, Any]], seed: int, seconds: float) -> None:
    failed = [result for result in results if result["outcome"] not in (LOADED, REFUSED)]
    print(f"seed {seed}, {len(results)} mutants, {seconds:.0f} s\n")
    print(f"{'kind':<26} {'tried':>6} {LOADED:>7} {REFUSED:>8} {'failed':>7}")
    for kind in [*dict.fromkeys(sorted(result["kind"] for result in results)), ""]:
        outcomes = Counter(result["outcome"] for result in results if kind in ("", result["kind"]))
        good = outcomes[LOADED] + outcomes[REFUSED]
        row = f"{outcomes[LOADED]:>7} {outcomes[REFUSED]:>8} {outcomes.total() - good:>7}"
        print(f"{kind or 'all':<26} {outcomes.total():>6} {row}")
    for (outcome, kind), times in Counter((result["outcome"], result["kind"]) for result in failed).most_common():
        numbers = [str(result["number"]) for result in failed if (result["outcome"], result["kind"]) == (outcome, kind)]
        print(f"\n{times} × {outcome} in {kind}: mutants {', '.join(numbers[:6])}", end="")
    print()


if __name__ == "__main__":
    typer.run(main)
