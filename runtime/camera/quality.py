"""Is a picture worth reading? Frozen, black, overexposed or covered ones are told from usable ones.

It looks at every eighth pixel of every eighth row, and never at what is in the picture. Frozen is exact: a still scene
changes with the sensor's noise, a repeated buffer does not. It cannot tell a covered lens from a blank wall (neither
shows a face), and a screen capture or a stream that skips still blocks may repeat itself for good reasons: see
`frozen_seconds`. Knows nothing of where pictures come from.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Verdict = Literal["usable", "frozen", "dark", "overexposed", "covered"]

STEP = 8
REPEATS = 8  # equal pictures in a row before a picture may count as frozen, however slow the camera
# Grey levels 0–255. Black level and noise of an unlit 8-bit sensor stay below 16 (ITU-R BT.601's black); a clipped one
# sits at 250 and more. A lit scene spreads by tens of levels; a lens behind a hand or tape by noise and vignette alone.
BLACK, CLIPPED, FLAT = 16, 250, 3.0
NEARLY_ALL = 0.98  # a lamp or a clock's display may be left in a black picture


class QualityCheck:
    """Judges the pictures of one source in their order."""

    def __init__(self, frozen_seconds: float = 5.0):
        """Say for how long a picture must repeat exactly before it is frozen; 0: nothing is ever frozen."""
        self._frozen_seconds = frozen_seconds
        self._last: np.ndarray | None = None
        self._since = 0.0
        self._repeats = 0

    def judge(self, image: np.ndarray, seconds: float) -> Verdict:
        """Return what an (H, W, 3) BGR uint8 picture is, taken at monotonic `seconds`."""
        sample = np.ascontiguousarray(image[::STEP, ::STEP])
        exposure = _exposure(sample[..., 1])  # green carries most of the luminance (ITU-R BT.601: 0.587)
        if self._last is not None and sample.shape == self._last.shape and np.array_equal(sample, self._last):
            self._repeats += 1
            still = self._repeats >= REPEATS and seconds - self._since >= self._frozen_seconds
            if self._frozen_seconds and still and exposure not in ("dark", "overexposed"):  # a clean black has no noise
                return "frozen"
        else:
            self._last, self._since, self._repeats = sample, seconds, 0
        return exposure


def _exposure(green: np.ndarray) -> Verdict:
    if np.count_nonzero(green < BLACK) >= NEARLY_ALL * green.size:
        return "dark"
    if np.count_nonzero(green >= CLIPPED) >= NEARLY_ALL * green.size:
        return "overexposed"
    return "covered" if float(green.std()) < FLAT else "usable"
