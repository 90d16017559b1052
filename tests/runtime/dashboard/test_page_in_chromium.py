"""The page in a real Chromium, light and dark, from phone to kiosk screen; with the keyboard, and for a screen reader.

MIEN_SCREENSHOTS names a folder to keep the pictures in, for people to look at.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from dashboard_page import LABELS, publish, scene_with, snapshot_of, start_page, stop_page, write_events
from dashboard_page import write_page_config as write_config
from loopback import free_port

from runtime.dashboard.access import make_token
from runtime.supervision.health import Health

HOSTILE = "<img src=x onerror=alert(1)> \u202e ' onmouseover=1"


class Kiosk:
    """A stream that publishes until told to stop, and the address of its page."""

    def __init__(self, folder: Path, **dashboard: Any):
        self.health = Health()
        self.health.started()
        self._folder, port = folder, free_port()
        write_events(folder / "events.jsonl", ["happy"] * 30 + ["surprise"] * 12 + ["neutral"] * 8)
        config = write_config(folder, port, events=True, preview=True, **dashboard)
        self.url = f"http://localhost:{port}/"
        self.begin()
        self._page = start_page(config)

    def begin(self) -> None:
        self._publisher = publish(self._folder / "channel", ["happy", "surprise"], self.health, preview=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        self._publisher.close()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            self._publisher.show(snapshot_of(), "v4l2:///dev/video0", LABELS)
            self._publisher.saw(scene_with(["happy", "surprise"]))

    def close(self) -> str:
        if self._thread.is_alive():
            self.end()
        return stop_page(self._page)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright (mien[dev]) drives the browser")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        pytest.skip("no Chromium here: Debian's is apt-get install chromium")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def kiosk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kiosk]:
    running = Kiosk(tmp_path_factory.mktemp("kiosk"))
    yield running
    assert running.close().count("\n") == 1  # where it is; nothing went wrong


def opened(chromium: Any, url: str, scheme: str = "light") -> tuple[Any, list[str]]:
    """Return a page that shows the stream, and the list that its console's errors come into."""
    page = chromium.new_context(viewport={"width": 1280, "height": 800}, color_scheme=scheme,
                                reduced_motion="reduce").new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(url, wait_until="commit")
    page.wait_for_selector("#faces h3")
    page.wait_for_function("n => document.querySelectorAll('#shares-rows tr').length === n", arg=len(LABELS))
    return page, errors


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_screen(chromium: Any, kiosk: Kiosk, tmp_path: Path, scheme: str) -> None:
    page, errors = opened(chromium, kiosk.url, scheme)
    assert page.locator("#health").inner_text() == "Running"
    assert page.locator("#faces h3 span:first-child").all_inner_texts() == ["Happy", "Surprise"]
    assert page.locator("#shares-rows tr").count() == len(LABELS)
    folder = Path(os.environ.get("MIEN_SCREENSHOTS", tmp_path))
    for width, height in ((390, 844), (1280, 800), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        small = page.evaluate("[...document.querySelectorAll('button, summary, fieldset span')]"
                              ".filter(e => e.offsetParent && e.getBoundingClientRect().height < 24).length")
        assert small == 0  # WCAG 2.5.8: targets of 24 px
        path = folder / f"dashboard-{width}x{height}-{scheme}.png"
        page.screenshot(path=path)
        picture = cv2.imread(str(path))
        assert picture is not None and bool(np.median(picture) > 200) is (scheme == "light")
    page.context.close()
    assert errors == []


def test_a_screen_reader_finds_its_way(chromium: Any, kiosk: Kiosk) -> None:
    page, _ = opened(chromium, kiosk.url)
    for landmark in ("banner", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1, landmark
    for name in ("Now", "Camera picture", "Expression shares", "Speed", "Camera", "Engine", "Drift"):
        assert page.get_by_role("region", name=name, exact=True).count() == 1, name
    assert page.get_by_role("radio", name="Hour").count() == 1
    assert page.get_by_role("img", name="What the camera sees").count() == 1
    bare = "all => all.filter(t => !t.caption || (t.querySelector('td') && !t.querySelector('th'))).length"
    assert page.locator("table").evaluate_all(bare) == 0
    assert page.locator("svg:not([aria-hidden=true])").count() == 0  # each stands beside its numbers
    assert page.locator("#announcement[role=status][aria-live=polite]").count() == 1
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator(".notice").inner_text() == "Facial expressions are being analysed here"
    row = page.locator("#shares-rows tr", has_text="happy")
    assert row.locator("th[scope=row]").count() == 1 and "%" in row.locator("td").last.inner_text()
    page.context.close()


def test_everything_can_be_reached_with_the_keyboard(chromium: Any, kiosk: Kiosk) -> None:
    page, _ = opened(chromium, kiosk.url)
    focus = "document.activeElement.className || document.activeElement.id || document.activeElement.value || 'summary'"
    page.keyboard.press("Tab")
    assert page.evaluate(focus) == "skip"
    page.keyboard.press("Tab")
    assert page.evaluate(focus) == "minute"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focus) == "hour" and "last hour" in page.locator("#shares-caption").inner_text()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#bins-rows tr")
    assert "now" in page.locator("#bins-rows tr").first.inner_text()
    outlined = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outlined != "none"
    page.context.close()


def test_text_from_the_stream_stays_text(chromium: Any, kiosk: Kiosk) -> None:
    page, errors = opened(chromium, kiosk.url)
    pictures = page.locator("img").count()
    kiosk.health.report("events", HOSTILE)
    page.wait_for_selector("#troubles:not([hidden])")
    assert "<img src=x onerror=alert(1)>" in page.locator("#troubles").inner_text()
    assert page.locator("#health").inner_text() == "Degraded" and page.locator("img").count() == pictures
    assert "Degraded" in page.locator("#announcement").inner_text()
    kiosk.health.report("events")
    page.wait_for_selector("#troubles[hidden]", state="attached")
    page.context.close()
    assert errors == []


def test_a_stream_that_ends_is_told_and_one_that_comes_back_is_shown(chromium: Any, kiosk: Kiosk) -> None:
    page, _ = opened(chromium, kiosk.url)
    kiosk.end()
    page.locator("#health-text", has_text="No stream is running").wait_for()
    assert page.locator("#nobody").is_visible() and page.locator("#picture").is_hidden()
    kiosk.begin()
    page.locator("#health-text", has_text="Running").wait_for()
    page.context.close()


def test_a_person_logs_in_and_out(chromium: Any, tmp_path: Path) -> None:
    make_token(tmp_path / "token")
    token = (tmp_path / "token").read_text().strip()
    kiosk = Kiosk(tmp_path, token_file=str(tmp_path / "token"))
    try:
        page = chromium.new_context().new_page()
        page.goto(kiosk.url)
        page.wait_for_url("**/login")
        page.get_by_label("This device’s token").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        assert page.get_by_role("alert").inner_text() == "That is not this device's token."
        page.get_by_label("This device’s token").fill(token)
        page.keyboard.press("Enter")
        page.wait_for_selector("#faces h3")
        assert token not in page.url and page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
        page.goto(kiosk.url)
        assert page.url.endswith("/login")
        page.context.close()
    finally:
        told = kiosk.close()
    assert token not in told and told.count("\n") == 1
