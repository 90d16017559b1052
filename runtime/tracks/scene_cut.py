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
    """Remembers a thumbnail of the frame before: 3 KB."""

    def __init__(self) -> None:
        """Start without a frame; the first one is no cut."""
        self._before: np.ndarray | None = None
        self._norm = 0.0
        self._size: tuple[int, ...] = ()

    def look(self, image: np.ndarray) -> bool:
        """Return whether a frame, (H, W, 3) BGR uint8, begins another scene than the frame before it."""
        now = _thumbnail(image).ravel().astype(np.float32)
        now -= now.mean()
        norm = float(now @ now) ** 0.5
        before, norm_before, size = self._before, self._norm, self._size
        self._before, self._norm, self._size = now, norm, image.shape
        if before is None:
            return False
        if size != image.shape:
            return True
        if min(norm, norm_before) < CONTRAST * now.size**0.5:
            return False
        return bool(now @ before < SAME * norm * norm_before)


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """Average 4×4 of the frame's pixels to each grey pixel: averaging all of them would cost ten times as much."""
    some = cv2.resize(image, (4 * THUMBNAIL[0], 4 * THUMBNAIL[1]), interpolation=cv2.INTER_NEAREST)
    return cv2.resize(cv2.cvtColor(some, cv2.COLOR_BGR2GRAY), THUMBNAIL, interpolation=cv2.INTER_AREA)
