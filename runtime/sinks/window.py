"""A window on the screen. Knows nothing of what is drawn; only OpenCV builds with a GUI and a display have one."""

from __future__ import annotations

import os
import re
import sys

import cv2
import numpy as np

from runtime.errors import Unavailable

TITLE = "mien"
QUIT_KEYS = {27, ord("q")}  # escape, q


class Window:
    """Shows frames until the person presses q or escape, or closes it."""

    def __init__(self) -> None:
        """Check for a GUI and a display before any frame is worked on. Raises Unavailable."""
        gui = re.search(r"GUI:\s*(\S+)", cv2.getBuildInformation())
        if gui is None or gui[1] == "NONE":
            raise Unavailable("expected an OpenCV with windows for --view, found a headless build; pip uninstall "
                              "opencv-python-headless and pip install 'opencv-python<6', or write --video instead")
        # Qt ends the whole process where no display answers
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise Unavailable("expected a screen for --view, found no DISPLAY or WAYLAND_DISPLAY; "
                              "run it in a desktop session, or write --video instead")
        self.closed = False
        self._shown = False

    def write(self, image: np.ndarray) -> None:
        """Show one BGR frame; sets `closed` when the person is done."""
        cv2.imshow(TITLE, image)
        pressed = cv2.waitKey(1) & 0xFF
        hidden = self._shown and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1
        self._shown = True
        self.closed = self.closed or pressed in QUIT_KEYS or hidden

    def close(self) -> None:
        """Close the window."""
        if self._shown:
            cv2.destroyWindow(TITLE)
