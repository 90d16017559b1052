"""Does this frame show what the one before showed? A cut, another camera or another size: nothing goes on from there.

Compares two thumbnails by their correlation, which no change of exposure moves. Knows nothing of faces; a picture
without contrast (dark, covered) is never called a cut.
"""

from __future__ import annotations

import cv2
import numpy as np

THUMBNAIL = (32, 24)  # width, height px; faces are a few pixels there, so one that moves is no cut
SAME = 0.4  # correlation from which two frames show one scene. A fast pan between two frames stays above 0.9
CONTRAST = 3.0  # grey levels of standard deviation; below it correlation measures the sensor's noise


class SceneCut:
    """Remembers a thumbnail of the frame before: 768 bytes."""

    def __init__(self) -> None:
        """Start without a frame; the first one is no cut."""
        self._before: np.ndarray | None = None
        self._spread = 0.0
        self._size: tuple[int, ...] = ()

    def look(self, image: np.ndarray) -> bool:
        """Return whether a frame, (H, W, 3) BGR uint8, begins another scene than the frame before it."""
        now = _thumbnail(image)
        spread = float(cv2.meanStdDev(now)[1][0, 0])
        before, spread_before, size = self._before, self._spread, self._size
        self._before, self._spread, self._size = now, spread, image.shape
        if before is None:
            return False
        if size != image.shape:
            return True
        if min(spread, spread_before) < CONTRAST:
            return False
        return float(cv2.matchTemplate(now, before, cv2.TM_CCOEFF_NORMED)[0, 0]) < SAME


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """Average 4×4 of the frame's pixels to each grey pixel: averaging all of them would cost ten times as much."""
    some = cv2.resize(image, (4 * THUMBNAIL[0], 4 * THUMBNAIL[1]), interpolation=cv2.INTER_NEAREST)
    return cv2.resize(cv2.cvtColor(some, cv2.COLOR_BGR2GRAY), THUMBNAIL, interpolation=cv2.INTER_AREA)
