"""Walk through the page with the real generator and a real browser, and take its pictures.

The way is the one of a person: open a photograph, choose a face, personalise, move sliders, compare, download. It ends
with an error if the page shows one, if the browser's log holds one, or if the downloaded file is not the photograph
with the edit. Times are printed: from moving a slider to the new face, and from releasing it to the whole photograph.

    pip install 'pti-hub[app]' 'selenium>=4.20'        # and Chromium with its driver
    python benchmarks/film_page.py outputs/page
    python benchmarks/film_page.py outputs/page --photo couple.jpg --face 1

OUT gets `page.png`, `page_narrow.png`, `page.gif` and the downloaded photograph.
"""

from __future__ import annotations

import functools
import io
import shutil
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from selenium import webdriver
from skimage.data import astronaut

from pti_hub import PTIPipeline
from pti_hub.app import served
from pti_hub.images import load_image, save_animation, save_image
from pti_hub.pipelines import DEFAULT_CHECKPOINT

WIDTH, HEIGHT, NARROW = 1280, 1000, 390
FILM = (640, 500)
EDITS = {"age": 1.5, "glasses": 1.0}
STEP = 0.1
FLAGS = ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-sync", "no-first-run")

# A slider moves as under a hand: the page hears of it, and of its release.
MOVE = """
const slider = document.querySelector(`#edit-${arguments[0]} input[type=range]`);
Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(slider, arguments[1]);
slider.dispatchEvent(new Event("input", { bubbles: true }));
"""
RELEASE = """
const slider = document.querySelector(`#edit-${arguments[0]} input[type=range]`);
slider.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
"""
SOURCES = "return [...document.querySelectorAll(arguments[0])].map((picture) => picture.src).join()"
IS_SEEN = "const found = document.querySelector(arguments[0]); return !!found && found.checkVisibility()"
ARE_LOADED = "return [...document.images].every((picture) => picture.complete && picture.naturalWidth)"


class Page:
    """The page in a browser, and the film of it."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser = browser
        self.frames: list[Image.Image] = []
        browser.get(address)
        self.wait(lambda: self.find("#opening input[type=file]"), "the page")

    def find(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements("css selector", selector))

    def is_seen(self, selector: str) -> bool:
        return bool(self.run(IS_SEEN, selector))

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 300) -> float:
        """Wait until a condition holds; returns for how long."""
        start = time.monotonic()
        while not condition():
            self.check_errors()
            if time.monotonic() - start > seconds:
                raise SystemExit(f"waited {seconds:g} s for {what}")
            time.sleep(0.01)
        return time.monotonic() - start

    def check_errors(self) -> None:
        """End with the error that the page shows, if there is one."""
        if error := "".join(toast.text for toast in self.find(".toast-body.error")):
            raise SystemExit(f"the page says: {error}")

    def changes(self, selector: str, action: Callable[[], Any]) -> float:
        """Seconds from an action to new pictures on the screen."""
        before, start = self.run(SOURCES, selector), time.monotonic()
        action()
        self.wait(lambda: self.run(SOURCES, selector) != before, selector)
        self.wait(lambda: self.run(ARE_LOADED), "the pictures")
        return time.monotonic() - start

    def run(self, script: str, *given: Any) -> Any:
        return self.browser.execute_script(script, *given)

    def look(self, times: int = 1) -> Image.Image:
        """Take a picture of the window, for the film, too."""
        picture = Image.open(io.BytesIO(self.browser.get_screenshot_as_png())).convert("RGB")
        self.frames += [picture.resize(FILM, Image.Resampling.LANCZOS)] * times
        return picture


@contextmanager
def browsing() -> Iterator[Any]:
    """A browser without a window."""
    options = webdriver.ChromeOptions()
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"user-data-dir={profile}"):
            options.add_argument(f"--{flag}")
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": {"width": WIDTH, "height": HEIGHT}})
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def learn(page: Page, photo: Path, face: int) -> None:
    """From the photograph to the sliders."""
    page.look(3)
    page.find("#opening input[type=file]")[0].send_keys(str(photo.resolve()))
    page.wait(lambda: page.is_seen("#learn") and page.find("#numbered img"), "the faces")
    for number, box in enumerate(page.find("#chosen input")):
        if box.is_selected() != (number == face):
            box.click()
    page.wait(lambda: page.run(ARE_LOADED), "the pictures")
    page.look(4)
    page.find("#learn")[0].click()
    start = time.monotonic()
    while not page.is_seen("#edit-smile"):
        page.check_errors()
        page.look()
        time.sleep(1)
        if time.monotonic() - start > 600:
            raise SystemExit("waited 600 s for the sliders")
    print(f"personalised    {time.monotonic() - start:.1f} s")
    page.wait(lambda: page.find("#compared img"), "the photograph")
    page.wait(lambda: page.run(ARE_LOADED), "the pictures")
    page.look(3)


def edit(page: Page) -> None:
    """Move the sliders, and print how long a person waits."""
    moved, released = [], []
    for name, strength in EDITS.items():
        for step in range(1, round(strength / STEP) + 1):
            moved.append(page.changes("#face img", functools.partial(page.run, MOVE, name, f"{step * STEP:.1f}")))
            if step % 2 == 0:
                page.look()
        released.append(page.changes("#compared img", functools.partial(page.run, RELEASE, name)))
        page.look(3)
    print(f"slider → face   median {statistics.median(moved):.2f} s, longest {max(moved):.2f} s of {len(moved)}")
    print(f"→ photograph    {', '.join(f'{seconds:.2f}' for seconds in released)} s")


def check(photo: Path, content: bytes, out: Path) -> None:
    """The file has to be the photograph, changed here and there."""
    path = out / f"edited{photo.suffix}"
    path.write_bytes(content)
    before, after = load_image(photo), load_image(path)
    if before.size != after.size:
        raise SystemExit(f"{path} has {after.size} px, the photograph {before.size}")
    changed = (np.abs(np.asarray(before).astype(int) - np.asarray(after)).max(2) > 24).mean()
    if not 0 < changed < 0.8:
        raise SystemExit(f"{path} is not the photograph with an edit")
    print(f"downloaded      {path}, {after.width}×{after.height} px, {changed:.0%} of them changed")


def main(
    out: Annotated[Path, typer.Argument(help="Folder for the pictures.")],
    photo: Annotated[Path | None, typer.Option(help="Photograph; an astronaut's portrait by default.")] = None,
    face: Annotated[int, typer.Option(help="Number of the face to edit.")] = 0,
    model: Annotated[str, typer.Option(help="Pipeline.")] = DEFAULT_CHECKPOINT,
) -> None:
    """Walk through the page, and take its pictures."""
    out.mkdir(parents=True, exist_ok=True)
    if photo is None:
        photo = out / "astronaut.png"
        save_image(Image.fromarray(astronaut()), photo)
    with served(PTIPipeline.from_pretrained(model)) as address, browsing() as browser:
        page = Page(browser, f"{address}?__theme=light")
        learn(page, photo, face)
        edit(page)
        page.look(8).save(out / "page.png")
        link = page.find("#download a")[0].get_attribute("href")
        with urllib.request.urlopen(link) as response:
            check(photo, response.read(), out)
        narrow = {"width": NARROW, "height": HEIGHT, "deviceScaleFactor": 2, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
        time.sleep(1)
        (out / "page_narrow.png").write_bytes(browser.get_screenshot_as_png())
        errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    write_film(page.frames, out / "page.gif")
    if errors:
        raise SystemExit(f"the browser's log: {errors}")
    print(f"pictures        {out}/page.png, page_narrow.png, page.gif")


def write_film(frames: Sequence[Image.Image], path: Path) -> None:
    """Write the film."""
    save_animation(frames, path, frames_per_second=4, height=FILM[1])


if __name__ == "__main__":
    typer.run(main)
