"""Stops commands by Ctrl-C and SIGTERM at random moments, and looks at what they say and leave.

    python tests/campaigns/stops.py --count 300 --seed 0

A stopped command must end with exit code 130 or 143, with `stopped` as its last line and without a traceback; it must
leave the terminal as it found it, whole files, and none hidden. Done again, it must leave the files of a command that
nobody stopped, byte for byte. The script prints a table, and exits with 1 if anything failed. It needs a system with
fork and pseudo-terminals.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import re
import shutil
import signal
import struct
import sys
import termios
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import typer
from kills import make_pipeline, photograph
from PIL import Image, ImageSequence
from reports import digests, finish, redirect, shares
from safetensors.torch import load_file

from pti_hub import PTIPipeline
from pti_hub.cli import commands, main

COMMANDS = {
    "edit": "edit photos/0.png -m model -e smile -e age=-1 --out out",
    "edit a folder": "edit photos -m model -e smile --out out",
    "personalize": "personalize photos -m model --out out",
    "personalize, resumed": "personalize photos -m model --run run --out out",
    "walk": "walk cast -m model --identity 0 -e smile --out out.gif",
    "info": "info model",
}
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
LIMIT = 10.0  # seconds from the signal to the end of the process
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"  # what hides a terminal's cursor, and shows it again


def stop(
    count: Annotated[int, typer.Option(min=1, help="Number of signals, of all commands together.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed of the moments.")] = 0,
) -> None:
    """Stop commands of every kind, and print what came of it."""
    assert commands.app.registered_commands
    torch.set_num_threads(1)
    failures = []
    print(f"seed {seed}")
    print(f"| {'command':20} | stopped | too late | failed | slowest end, seconds |")
    with TemporaryDirectory() as folder:
        start = prepare(Path(folder) / "start")
        for (name, line), share in shares(count, list(COMMANDS.items())):
            campaign = Campaign(line.split(), start, random.Random(f"{seed}/{name}"))
            campaign.run(share)
            failures += [f"{name}: {failure}" for failure in campaign.failures]
            row = f"| {name:20} | {campaign.stopped:7} | {campaign.late:8} | {len(campaign.failures):6} |"
            print(f"{row} {campaign.slowest:20.1f} |", flush=True)
    finish(failures)


class Terminal:
    """A terminal of 24 lines, whose `settings` are known from before and after."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.settings = [termios.tcgetattr(self.theirs)]
        self.heard: list[bytes] = []
        self.thread = threading.Thread(target=self._listen)

    def listen(self) -> None:
        """Take what is printed, which would wait otherwise."""
        self.thread.start()

    def _listen(self) -> None:
        # The system says that nobody is there any more by an error.
        with suppress(OSError):
            while part := os.read(self.ours, 4096):
                self.heard.append(part)

    def close(self) -> str:
        """What was printed, once nobody prints any more."""
        self.settings.append(termios.tcgetattr(self.theirs))
        os.close(self.theirs)
        self.thread.join()
        os.close(self.ours)
        return b"".join(self.heard).decode().replace("\r\n", "\n")


class Campaign:
    """The stops of one command.

    Args:
        arguments: The command's arguments.
        start: A folder of what the command needs.
        random: Where the moments come from.
    """

    def __init__(self, arguments: list[str], start: Path, random: random.Random) -> None:
        self.arguments, self.start, self.random = arguments, start, random
        self.place = start.with_name("place")
        self.stopped, self.late, self.slowest = 0, 0, 0.0
        self.failures: list[str] = []
        shutil.copytree(start, self.place)
        began = time.perf_counter()
        code, shown, _ = self.command(None, 0)
        self.seconds = time.perf_counter() - began
        if code:
            raise SystemExit(f"{' '.join(arguments)} fails by itself: {shown}")
        self.expected = digests(self.place)
        shutil.rmtree(self.place)

    def run(self, count: int) -> None:
        """Stop the command so often, each time from the start."""
        for _ in range(count):
            shutil.copytree(self.start, self.place)
            number = self.random.choice(list(CODES))
            moment = self.random.uniform(0, self.seconds)
            code, shown, took = self.command(number, moment)
            self.slowest = max(self.slowest, took)
            problems = self.problems(number, code, shown, took)
            self.failures += [f"{number.name} after {moment:.3f} s: {problem}" for problem in problems]
            shutil.rmtree(self.place)

    def problems(self, number: signal.Signals, code: int, shown: str, took: float) -> list[str]:
        """What is wrong after a signal."""
        problems = []
        if code == 0:
            self.late += 1
        elif code == CODES[number]:
            self.stopped += 1
            if not re.search(r"(^|[\r\n])stopped\n$", shown) or "Traceback" in shown:
                problems.append(f"it said {shown[-300:]!r}")
        else:
            problems.append(f"exit code {code}: {shown[-300:]!r}")
        if shown.rfind(HIDDEN) > shown.rfind(SHOWN):
            problems.append("the cursor is still hidden")
        if self.settings[0] != self.settings[1]:
            problems.append("the terminal has other settings")
        if took > LIMIT:
            problems.append(f"it went on for {took:.0f} s")
        for path in self.place.rglob("*"):
            if path.name.startswith("."):
                problems.append(f"{path.name} is left")
            elif path.is_file():
                try:
                    check(path)
                except Exception as error:
                    problems.append(f"{path.name} is not whole: {error}")
        if not problems:
            code, shown, _ = self.command(None, 0)
            if code:
                problems.append(f"done again, exit code {code}: {shown[-300:]!r}")
            elif differing := sorted(k for k, _ in digests(self.place).items() ^ self.expected.items()):
                problems.append(f"done again, other files: {', '.join(dict.fromkeys(differing))}")
        return problems

    def command(self, number: signal.Signals | None, moment: float) -> tuple[int, str, float]:
        """The command in a child: its exit code, what it printed, and the seconds from the signal to its end."""
        terminal, (ready, tells) = Terminal(), os.pipe()
        pid = os.fork()
        if pid == 0:
            self.child(terminal.theirs, tells)
        terminal.listen()
        os.read(ready, 1)
        if number is not None:
            # Python itself has not started the command in its first milliseconds.
            time.sleep(0.01 + moment)
            os.kill(pid, number)
        sent = time.perf_counter()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        took = time.perf_counter() - sent
        os.close(ready)
        os.close(tells)
        shown = terminal.close()
        self.settings = terminal.settings
        return code, shown, took

    def child(self, terminal: int, tells: int) -> None:
        """The command, in a process of its own, which ends here."""
        code: object = 0
        redirect(terminal)
        try:
            os.chdir(self.place)
            sys.argv = ["pti-hub", *self.arguments]
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.write(tells, b"!")
            main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
            code = 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1)


def prepare(folder: Path) -> Path:
    """A folder with photographs, a pipeline, and a personalisation to two of the photographs."""
    (folder / "photos").mkdir(parents=True)
    for i in range(2):
        photograph(i).save(folder / "photos" / f"{i}.png")
    pipe = make_pipeline(1)
    pipe.save_pretrained(folder / "model")
    pipe = PTIPipeline.from_pretrained(folder / "model", device="cpu")
    pipe.set_progress_bar_config(disable=True)
    pipe.personalize({"0": photograph(0), "1": photograph(1)}).save_pretrained(folder / "cast")
    return folder


def check(path: Path) -> None:
    """Read a file.

    Raises:
        Exception: It is not whole.
    """
    if path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".safetensors":
        load_file(path)
    elif path.suffix in (".png", ".gif"):
        with Image.open(path) as image:
            for frame in ImageSequence.Iterator(image):
                frame.load()


if __name__ == "__main__":
    typer.run(stop)
