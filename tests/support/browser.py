"""A real browser, where there is one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_FLAGS = ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-sync", "no-first-run")


@contextmanager
def browsing(profile: Path, width: int, height: int) -> Iterator[Any]:
    """A browser with a window of that size, as narrow as a phone's if asked for; its log is kept."""
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, "disable-component-update", f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.add_experimental_option("mobileEmulation", {"deviceMetrics": {"width": width, "height": height}})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    try:
        yield started
    finally:
        started.quit()


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Wait until a condition holds, and return what it gives."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail(f"waited {seconds:g} s for {what}")
