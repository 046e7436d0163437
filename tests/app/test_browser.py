"""The page in a real browser, from the photograph to the download."""

from __future__ import annotations

import io
import json
import re
import urllib.request
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.browser import browsing, wait_for

from pti_hub import PTIPipeline
from pti_hub.app import served
from pti_hub.faces import FaceAnalyzer, crop_quad
from pti_hub.images import encode_image, load_image, read_photograph

pytest.importorskip("gradio", reason="needs gradio")

# Pairs of controls that are seen at once, and lie on one another.
_OVERLAPS = """
const seen = [...document.querySelectorAll("button, input, textarea, a, label, p, h1, img")]
  .filter((e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && e.type !== "file");
const box = (e) => e.getBoundingClientRect();
const lie = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
const frame = (e) => e.closest(".block") ?? e;
const found = [];
for (const [i, a] of seen.entries()) {
  for (const b of seen.slice(i + 1)) {
    const apart = frame(a) !== frame(b) && !frame(a).contains(b) && !frame(b).contains(a);
    if (apart && lie(box(a), box(b))) found.push(`${a.outerHTML.slice(0, 80)} on ${b.outerHTML.slice(0, 80)}`);
  }
}
return found;
"""


# gradio fades what an event is about to change, which takes its contrast away.
_IS_STILL = """
const runs = (a) => a.playState === "running" && a.effect.getTiming().iterations !== Infinity;
return !document.querySelector(".pending") && !document.getAnimations().some(runs);
"""
_IS_SEEN = "const found = document.querySelector(arguments[0]); return !!found && found.checkVisibility()"


class Page:
    """What a person sees and does."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser = browser
        browser.get(address)
        wait_for(lambda: self.find("#opening input[type=file]"), "the page")

    def find(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements("css selector", selector))

    def is_seen(self, selector: str) -> bool:
        return bool(self.run(_IS_SEEN, selector))

    def run(self, script: str, *given: Any) -> Any:
        return self.browser.execute_script(script, *given)

    def click(self, selector: str) -> None:
        self.run("arguments[0].scrollIntoView({block: 'center'})", self.find(selector)[0])
        self.find(selector)[0].click()

    def source(self, selector: str) -> str:
        return str(self.run("return [...document.querySelectorAll(arguments[0])].map(i => i.src).join()", selector))

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).value", selector))

    def click_on_face(self, x: float, y: float) -> None:
        """Click on a point of the face, given in its pixels, and wait until it is marked."""
        selenium, before = pytest.importorskip("selenium.webdriver"), self.source("#face img")
        face = self.find("#face img")[0]
        self.run("arguments[0].scrollIntoView({block: 'center'})", face)
        width, height, size = self.run(
            "const r = arguments[0].getBoundingClientRect(); return [r.width, r.height, arguments[0].naturalWidth]",
            face,
        )
        scale = min(width / size, height / size, 1)
        place = (round((x - size / 2) * scale), round((y - size / 2) * scale))
        selenium.ActionChains(self.browser).move_to_element_with_offset(face, *place).click().perform()
        wait_for(lambda: self.source("#face img") != before, "the point on the face")

    def press(self, selector: str, *keys: str) -> None:
        """Type into something, and wait until the whole photograph has followed."""
        before = self.source("#compared img")
        self.find(selector)[0].send_keys(*keys)
        wait_for(lambda: self.source("#compared img") != before, "the edited photograph")

    def check(self, where: str) -> None:
        """Nothing lies on anything else or is wider than the window, and nothing is unreadable to anyone."""
        wait_for(lambda: self.run(_IS_STILL), f"{where} to have faded in")
        assert self.run("return document.documentElement.scrollWidth <= window.innerWidth"), where
        assert self.run(_OVERLAPS) == [], where
        self.run((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
        found = self.browser.execute_async_script("axe.run(document).then(arguments[0])")
        grave = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
        assert not grave, f"{where}: {[(v['id'], [node['html'] for node in v['nodes']]) for v in grave]}"

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]

    def strangers(self, address: str) -> list[str]:
        """What was asked of anybody else."""
        asked = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith((address, "data:", "blob:", "chrome"))]


@pytest.fixture
def face_pipe(pipe: PTIPipeline) -> PTIPipeline:
    """The tiny pipeline, which looks for faces."""
    pytest.importorskip("dlib", reason="needs dlib")
    pipe.aligns_faces = True
    return pipe


@pytest.fixture
def photo(group: Image.Image, tmp_path: Path) -> Path:
    """A photograph of three, with what a camera writes."""
    path = tmp_path / "wir drei (é).jpg"
    exif = Image.Exif()
    exif[0x010E] = "a summer's day"
    group.save(path, quality=95, exif=exif)
    return path


@pytest.fixture
def address(face_pipe: PTIPipeline) -> Iterator[str]:
    """A server of the page."""
    with served(face_pipe) as found:
        yield found


def second_square(photo: Path) -> np.ndarray:
    """The mask `[H, W]` of the square around the second face, a block of JPEG wider."""
    picture = load_image(photo)
    quad = crop_quad(FaceAnalyzer().detect(picture)[1].landmarks)
    y, x = np.mgrid[: picture.height, : picture.width]
    low, high = quad.min(0) - 16, quad.max(0) + 16
    return np.asarray((x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1]))


def choose_second(page: Page, photo: Path) -> None:
    """Click on the second face in the picture."""
    picture, selenium = load_image(photo), pytest.importorskip("selenium.webdriver")
    left, top, right, bottom = FaceAnalyzer().detect(picture)[1].box
    shown = page.find("#numbered img")[0]
    page.run("arguments[0].scrollIntoView({block: 'center'})", shown)
    width, height = page.run("const r = arguments[0].getBoundingClientRect(); return [r.width, r.height]", shown)
    scale = min(width / picture.width, height / picture.height)
    place = (((left + right - picture.width) / 2) * scale, ((top + bottom - picture.height) / 2) * scale)
    selenium.ActionChains(page.browser).move_to_element_with_offset(shown, *map(int, place)).click().perform()
    boxes = page.find("#chosen input")
    wait_for(lambda: [box.is_selected() for box in boxes] == [False, True, False], "the second face to be chosen")


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_from_the_photograph_to_the_download(address: str, photo: Path, tmp_path: Path, width: int, theme: str) -> None:
    with browsing(tmp_path / "browser", width, 900) as browser:
        page = Page(browser, f"{address}?__theme={theme}")
        page.check("opening")
        page.find("#opening input[type=file]")[0].send_keys(str(photo))
        wait_for(lambda: page.is_seen("#learn"), "the faces")
        wait_for(lambda: page.find("#numbered img"), "their numbers")
        page.check("choosing")
        choose_second(page, photo)
        page.click("#learn")
        wait_for(lambda: page.is_seen("#edit-smile"), "the sliders")
        wait_for(lambda: page.source("#compared img"), "the photograph")
        page.check("editing")
        # By keyboard alone: an arrow moves a slider, a number can be typed, and the photograph follows.
        page.press("#edit-smile input[type=range]", *["\ue014"] * 20)
        wait_for(lambda: page.text("#lines textarea") == "smile=2", "the slider's edit")
        page.press("#edit-age input[type=number]", "\ue009" + "a" + "\ue000", "-3", "\ue004")
        wait_for(lambda: page.text("#lines textarea") == "smile=2\nage=-3", "both edits")
        page.click("#people button")
        wait_for(lambda: page.is_seen("#source"), "people")
        page.check("people")
        link = page.find("#download a")[0].get_attribute("href")
        with urllib.request.urlopen(link) as response:
            disposition, content = response.headers["Content-Disposition"], response.read()
        assert page.errors() == []
        assert page.strangers(address) == []
    assert disposition == "attachment; filename*=UTF-8''wir%20drei%20%28%C3%A9%29_edited.jpg"
    edited, original = Image.open(io.BytesIO(content)), Image.open(photo)
    assert (edited.format, edited.size) == ("JPEG", original.size)
    assert edited.getexif()[0x010E] == "a summer's day"
    # What the same photograph becomes without an edit: JPEG rounds once more.
    opened, square = read_photograph(photo), second_square(photo)
    unedited = Image.open(io.BytesIO(encode_image(opened.with_edit(opened.picture), ".jpg")))
    change = np.abs(np.asarray(edited).astype(int) - np.asarray(unedited)).max(2)
    assert change[square].max() > 20
    assert change[~square].max() == 0


@pytest.mark.parametrize(("width", "theme"), [(1280, "dark"), (390, "light")])
def test_points_of_the_face_are_dragged(
    pipe: PTIPipeline, square: Path, tmp_path: Path, width: int, theme: str
) -> None:
    with served(pipe) as address, browsing(tmp_path / "browser", width, 900) as browser:
        page = Page(browser, f"{address}?__theme={theme}")
        page.find("#opening input[type=file]")[0].send_keys(str(square))
        wait_for(lambda: page.is_seen("#learn"), "the picture")
        page.click("#learn")
        wait_for(lambda: page.source("#face img") and page.source("#compared img"), "the face")
        assert not page.is_seen("#drag")
        page.click_on_face(20, 30)
        wait_for(lambda: page.is_seen("#drag"), "what is dragged with")
        page.click_on_face(40, 12)
        points = [float(number) for number in re.findall(r"\d+", page.text("#points textarea"))]
        assert points == pytest.approx([20, 30, 40, 12], abs=1)
        page.check("points")
        before = page.source("#compared img")
        page.click("#drag")
        wait_for(lambda: page.is_seen("#halt"), "a way to stop it")
        wait_for(lambda: page.text("#lines textarea") == "drag1=1", "the drag as an edit")
        wait_for(lambda: page.source("#compared img") != before, "the edited picture")
        assert (page.text("#points textarea"), page.is_seen("#halt")) == ("", False)
        # By keyboard alone: points can be typed, and are drawn when the field is left.
        shown = page.source("#face img")
        page.find("#points textarea")[0].send_keys("10,10>30,30; 50,50>", "\ue004")
        wait_for(lambda: page.source("#face img") != shown, "the points that were typed")
        page.click("#clear")
        wait_for(lambda: page.text("#points textarea") == "", "no points")
        page.click("#undo")
        wait_for(lambda: page.text("#lines textarea") == "", "no drag")
        page.check("undone")
        assert page.errors() == []
        assert page.strangers(address) == []
