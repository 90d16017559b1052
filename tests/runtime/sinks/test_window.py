"""The window: refused in words where there can be none."""

from __future__ import annotations

import cv2
import pytest

from runtime.errors import Unavailable
from runtime.sinks.window import Window


def test_a_headless_opencv_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "\n  GUI:                           NONE\n")
    with pytest.raises(Unavailable, match="pip install 'opencv-python<6'") as caught:
        Window()
    assert caught.value.exit_code == 3


def test_no_screen_is_said_before_qt_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "\n  GUI:                           QT5\n")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(Unavailable, match="no DISPLAY"):
        Window()
