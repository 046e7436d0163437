"""The page of one file, in a real browser."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.browser import browsing, wait_for
from support.places import ROOT

from pti_hub import InputError, Personalization, PTIPipeline
from pti_hub.checkpoints.export import Person
from pti_hub.checkpoints.page import RUNTIME, Slider, write_page
from pti_hub.pipelines import export_identity

NAME = "</script><script>alert(1)</script>"


@pytest.fixture
def runtime() -> Path:
    """The runtime, where npm has installed it."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("axe_core_python")
    if not (ROOT / RUNTIME / "ort.jspi.min.js").is_file():
        pytest.skip("needs onnxruntime-web: npm install --prefix . onnxruntime-web")
    return ROOT / RUNTIME


@pytest.fixture
def ada(pipe: PTIPipeline) -> Personalization:
    """A person with a name that no page should run."""
    random = torch.Generator().manual_seed(7)
    deltas = {n: 0.02 * torch.randn(p.shape, generator=random) for n, p in pipe.generator.named_parameters()}
    return Personalization(deltas, {NAME: pipe.generator.w_avg + torch.randn(16, generator=random)}, pipe.base)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A real one, as narrow as a phone."""
    with browsing(tmp_path / "browser", 390, 844) as started:
        yield started


def pixels(browser: Any) -> np.ndarray:
    """What the page shows."""
    encoded = browser.execute_script("return document.getElementById('face').toDataURL()").split(",")[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")).astype(int)


def wait_for_full(browser: Any) -> None:
    """Wait until the page has nothing more to compute."""
    idle = "return !!document.documentElement.dataset.full && document.getElementById('frame').ariaBusy === 'false'"
    wait_for(lambda: browser.execute_script(idle), "the picture")


def distance(a: np.ndarray, b: Image.Image) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(a - np.asarray(b).astype(int)).mean())


def test_the_page_in_a_browser(
    browser: Any, pipe: PTIPipeline, ada: Personalization, runtime: Path, tmp_path: Path
) -> None:
    file = tmp_path / "alone" / "ada.html"
    file.parent.mkdir()
    pipe.edits.pop("age")
    export_identity(pipe, file, ada, runtime)
    browser.get_log("performance")
    browser.get(file.as_uri())
    wait_for_full(browser)
    assert browser.title == NAME
    original = pixels(browser)
    assert distance(original, pipe.edit(ada)[0]) < 0.5

    slider = browser.find_element("id", "edit-smile")
    slider.send_keys("\ue011")  # Home: the least strength
    wait_for_full(browser)
    edited = pixels(browser)
    assert distance(edited, pipe.edit(ada, ("smile", -2.0))[0]) < 0.5
    assert np.abs(edited - original).mean() > 2
    assert browser.find_element("css selector", ".slider output").text == "−2.0"

    compare = browser.find_element("id", "compare")
    browser.execute_script("arguments[0].dispatchEvent(new KeyboardEvent('keydown', { key: ' ' }))", compare)
    assert np.array_equal(pixels(browser), original)
    browser.execute_script("arguments[0].dispatchEvent(new KeyboardEvent('keyup', { key: ' ' }))", compare)
    assert np.array_equal(pixels(browser), edited)
    browser.find_element("id", "reset").click()
    wait_for_full(browser)
    assert np.array_equal(pixels(browser), original)

    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.execute_script((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
        found = browser.execute_async_script("axe.run(document).then(arguments[0])")
        assert not [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert all(url == file.as_uri() or url.startswith(("blob:", "data:", "chrome:")) for url in urls)
    problems = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not problems


def test_a_slider_ends_where_the_face_goes_no_further(pipe: PTIPipeline, runtime: Path, tmp_path: Path) -> None:
    generator: Any = pipe.generator
    person = Person("ada", generator.w_avg)
    still = Slider("beard", torch.ones(16), {-2.0: 0.0, 0.0: 0.0, 2.0: 0.0})
    with pytest.raises(InputError, match=r"no edit moves 'ada', .*; export .onnx instead"):
        write_page(tmp_path / "ada.html", generator, person, [still], runtime)
    glasses = Slider("glasses", torch.ones(16), {-2.0: 0.0, -1.0: 0.0, 0.0: 0.0, 1.0: 0.5, 2.0: 0.5})
    own = Slider("my edit", torch.ones(16), {-2.0: -2.0, 0.0: 0.0, 2.0: 2.5})
    write_page(tmp_path / "ada.html", generator, person, [own, still, glasses], runtime)
    page = (tmp_path / "ada.html").read_text(encoding="utf-8")
    about = json.loads(page.split('id="about">')[1].split("</script>")[0])
    assert [(edit["name"], edit["group"]) for edit in about["edits"]] == [("glasses", "First"), ("my edit", "More")]
    assert [edit["points"] for edit in about["edits"]] == [[[0, 0], [1, 0.5]], [[-2, -2], [0, 0], [2, 2.5]]]
