"""A real headless browser for the HTML pages; tests are skipped if no browser is installed."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SECONDS = 60  # time limit for a page to draw its pictures on a busy machine
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A driver of Chromium with a new profile in that folder."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1200,1400"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(driver))
    try:
        made.set_script_timeout(SECONDS)
        yield made
    finally:
        made.quit()


def opened(driver: Any, page: Path, width: int = 1200, scheme: str = "light") -> None:
    """Open a page at a width, and wait until all its pictures are drawn."""
    size = {"width": width, "height": 1400, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    preferred = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": preferred})
    driver.get("about:blank")
    driver.get(page.as_uri())
    drawn(driver)


def drawn(driver: Any) -> None:
    """Wait until every picture shows the chosen axis."""
    wait(
        driver,
        "[...document.querySelectorAll('.plot')].every(p => p.dataset.drawn && p.dataset.shown === p.dataset.drawn)",
    )


def wait(driver: Any, condition: str) -> None:
    """Wait until a condition in JavaScript holds."""
    until = time.monotonic() + SECONDS
    while not driver.execute_script(f"return {condition}"):
        assert time.monotonic() < until, (condition, driver.get_log("browser"))


def requested(driver: Any) -> list[str]:
    """The addresses that pages requested since the last call."""
    messages = [json.loads(e["message"])["message"] for e in driver.get_log("performance")]
    return [
        m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"
    ]  # fmt: skip


def violations(driver: Any) -> list[tuple[str, list[str]]]:
    """The violations that axe-core finds in the page: rule and elements."""
    import axe_core_python

    source = Path(axe_core_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    driver.execute_script(source)
    found = driver.execute_async_script(
        "axe.run(document, {resultTypes: ['violations']}).then(arguments[arguments.length - 1])"
    )
    return [(v["id"], [str(n["target"]) for n in v["nodes"]][:5]) for v in found["violations"]]
