"""The report, in a real browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.browser import browsing
from support.evaluation import filled
from support.needs import needs_evaluation

from pti_hub.evaluation import Table, draw, write_report

pytestmark = needs_evaluation


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A real one, as narrow as a phone."""
    with browsing(tmp_path / "browser", 390, 844) as started:
        yield started


def test_the_report_in_a_browser(browser: Any, tmp_path: Path) -> None:
    results = filled(tmp_path)
    results.add("<script>alert(1)</script>.jpg", "pti", ["reconstruction"], {"lpips_alex": 0.25})
    for image in results.images:
        for method in ("photograph", "pti"):
            results.add_pictures(image, method, {"reconstruction": Image.new("RGB", (256, 256), "red")})
    table = Table("table1", results)
    path = write_report(results, [(table, draw("table1", results)), (Table("figure21", results), [])], "Mine")
    # Moved away from everything it was made beside.
    alone = tmp_path / "alone" / "report.html"
    alone.parent.mkdir()
    path.rename(alone)
    browser.get(alone.as_uri())
    assert browser.title == "Mine"
    assert "1 skipped" in browser.find_element("id", "skipped").text
    for details in browser.find_elements("tag name", "details"):
        browser.execute_script("arguments[0].open = true; arguments[0].scrollIntoView()", details)
    images = browser.find_elements("tag name", "img")
    loaded = "return [...document.images].every(i => { i.loading = 'eager'; return i.complete && i.naturalWidth > 0 })"
    deadline = time.monotonic() + 20
    while not browser.execute_script(loaded) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert browser.execute_script(loaded)
    assert len(images) == 1 + 2 * 4
    # Nothing but the tables is wider than the phone, and they scroll by themselves.
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")

    def column(number: int) -> list[str]:
        cells = browser.find_elements("css selector", f"#rows tbody td:nth-child({number})")
        return [cell.get_attribute("textContent") for cell in cells]

    lpips = browser.find_element("css selector", "#rows thead th:nth-child(3) button")
    assert lpips.text.startswith("LPIPS")
    lpips.click()
    assert column(3) == ["0.100", "0.100", "0.250", "0.300", "0.400", "0.400", "0.500"]
    lpips.click()
    assert column(3) == ["0.500", "0.400", "0.400", "0.300", "0.250", "0.100", "0.100"]
    identity = browser.find_element("css selector", "#rows thead th:nth-child(4) button")
    for _ in range(2):
        # What was not measured stays at the end.
        identity.click()
        assert column(4)[-2:] == ["–", "–"]
    browser.find_element("css selector", "#rows thead th:nth-child(1) button").click()
    assert column(1)[0].startswith("<script>")
    problems = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not problems
