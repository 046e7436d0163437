"""What the page's server stands: broken files, two visitors at once, Stop at any moment, a tab closed in the middle.

    pip install 'pti-hub[app]' 'selenium>=4.20'        # and Chromium with its driver
    python benchmarks/page.py [PHOTO]

Prints how each upload ended, how long each Stop took, and the server's memory and files before and after. It fails if a
broken file is opened, a good one is not, a Stop is not heard, or more than 200 MB stay in use.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from PIL import Image
from selenium import webdriver
from skimage.data import astronaut

from pti_hub.images import save_image

UPLOADS, STOPS = 50, (0.0, 0.3, 1.0, 2.5, 4.0, 7.0, 12.0)
MOST_MB = 200
_IS_SEEN = "const found = document.querySelector(arguments[0]); return !!found && found.checkVisibility()"
FLAGS = ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-sync", "no-first-run")


class Visitor:
    """A browser at the page."""

    def __init__(self, address: str, driver: Any) -> None:
        self.address, self.driver = address, driver

    def find(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def is_seen(self, selector: str) -> bool:
        return bool(self.driver.execute_script(_IS_SEEN, selector))

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 120) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(0.05)
        raise SystemExit(f"waited {seconds:g} s for {what}")

    def upload(self, path: Path) -> str:
        """Come to the page anew and upload a file; returns `"opened"`, or what the page says."""
        self.driver.get(self.address)
        self.wait(lambda: self.find("#opening input[type=file]"), "the page")
        time.sleep(0.5)
        self.find("#opening input[type=file]")[0].send_keys(str(path))
        said = self.wait(
            lambda: (self.is_seen("#learn") and "opened") or "".join(e.text for e in self.find(".toast-body")),
            f"an answer to {path.name}",
        )
        return " ".join(said.split())

    def learn(self) -> None:
        """Personalise the first face, once nothing else is learned."""
        self.wait(lambda: self.is_seen("#choosing") and not self.is_seen("#stop"), "the faces")
        time.sleep(1)
        if not self.is_seen("#learn"):
            self.find("#choosing button")[0].click()
            self.wait(lambda: self.is_seen("#learn"), "the button")
        for number, box in enumerate(self.find("#chosen input")):
            if box.is_selected() != (number == 0):
                box.click()
        self.find("#learn")[0].click()

    def leave(self) -> None:
        self.driver.get("about:blank")
        time.sleep(3)


@contextmanager
def visitor(address: str) -> Iterator[Visitor]:
    """A browser without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"user-data-dir={profile}"):
            options.add_argument(f"--{flag}")
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            yield Visitor(address, driver)
        finally:
            driver.quit()


@contextmanager
def server() -> Iterator[tuple[str, psutil.Process]]:
    """The page's server as a process of its own: its address and itself."""
    code = "from pti_hub.cli import main; main()"
    command = [sys.executable, "-u", "-c", code, "app", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split(" at ")[1].split()[0], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def broken(kind: int, content: bytes) -> bytes:
    """A file that is no photograph any more."""
    changed = bytearray(content)
    for place in random.sample(range(len(changed)), len(changed) // 100):
        changed[place] = random.randrange(256)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\nshowpage\n"
    return [content[: len(content) // 2], random.randbytes(50_000), b"", eps, bytes(changed)][kind % 5]


def megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def main(
    photo: Annotated[Path | None, typer.Argument(help="Photograph with a face; an astronaut's by default.")] = None,
) -> None:
    """Print what the server stands."""
    random.seed(0)
    with tempfile.TemporaryDirectory() as folder, server() as (address, process):
        good = photo or Path(folder) / "astronaut.jpg"
        if photo is None:
            save_image(Image.fromarray(astronaut()), good)
        files = [good] * UPLOADS
        for i in range(0, UPLOADS, 2):
            files[i] = Path(folder) / f"broken{i}.jpg"
            files[i].write_bytes(broken(i // 2, good.read_bytes()))
        with visitor(address) as ada, visitor(address) as bob:
            ada.upload(good)
            ada.learn()
            ada.wait(lambda: ada.is_seen("#edit-smile"), "the sliders")
            ada.leave()
            before = megabytes(process)
            print(f"{before:.0f} MB after one visit")
            stop(ada, good)
            ada.learn()
            time.sleep(5)
            ada.leave()
            print(f"closed in the middle of learning: {process.cpu_percent(1.0):.0f} % of a core a few seconds later")
            upload({ada: files[: UPLOADS // 2], bob: files[UPLOADS // 2 :]}, good)
            ada.leave()
            bob.leave()
            after = megabytes(process)
    print(f"{after:.0f} MB after all of them left, {after - before:+.0f} MB")
    if after - before > MOST_MB:
        raise SystemExit(f"expected at most {MOST_MB} MB more")


def stop(ada: Visitor, good: Path) -> None:
    """Stop learning after so many seconds."""
    ada.upload(good)
    for seconds in STOPS:
        ada.learn()
        ada.wait(lambda: ada.is_seen("#stop"), "the button")
        time.sleep(seconds)
        start = time.monotonic()
        ada.find("#stop")[0].click()
        ada.wait(lambda: ada.is_seen("#choosing") and not ada.is_seen("#stop"), "the end after Stop", 30)
        print(f"stopped after {seconds:g} s: took {time.monotonic() - start:.1f} s")


def upload(shares: dict[Visitor, list[Path]], good: Path) -> None:
    """All visitors upload their share of files at once."""
    said: list[tuple[bool, str]] = []

    def work(who: Visitor, files: list[Path]) -> None:
        said.extend((file == good, who.upload(file)) for file in files)

    threads = [threading.Thread(target=work, args=share) for share in shares.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for text, count in Counter(re.sub(r"broken\d+", "broken", text) for _, text in said).items():
        print(f"{count} × {text[:100]}")
    wrong = [text for is_good, text in said if is_good != (text == "opened")]
    if wrong or len(said) != UPLOADS:
        raise SystemExit(f"{len(said)} of {UPLOADS} uploads were answered, wrongly: {wrong}")


if __name__ == "__main__":
    typer.run(main)
