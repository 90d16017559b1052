"""Does the process leak? Lines fitted through its resident memory over a window and its thirds, in constant memory.

A leak rises in every third; the first large picture, or another model, is a step in one. Knows nothing of what leaks,
of no leak slower than its limit, and of none whose steps lie farther apart than a third of the window; start-up is
forgotten as the window moves on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

SAMPLES = 60  # in a window, evenly spaced
PARTS = 3  # of a window, each of which must rise
MEBIBYTE = 1 << 20
STANDARD_ERRORS = 3.0  # the slope must exceed the limit by so much: 1 in 1,000 windows of pure noise would


def resident_memory(status: Path = Path("/proc/self/status")) -> int:
    """Return this process's resident memory now, bytes; 0 where the system does not say."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


class MemorySlope:
    """Samples of memory and the line through them; `limit` in MiB an hour (0: never alarms), `window` in seconds."""

    def __init__(self, limit: float, window: float, measure: Callable[[], int] = resident_memory,
                 clock: Callable[[], float] = time.monotonic):
        """Begin an empty window."""
        self._limit, self._step, self._measure, self._clock = limit, window / SAMPLES, measure, clock
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        self._due = -float("inf")

    def sample(self) -> str:
        """Measure where it is time; return a line for people once memory surely grows too fast, else ''."""
        now = self._clock()
        if not self._limit or now < self._due:
            return ""
        self._due = now + self._step
        self._samples.append((now, self._measure() / MEBIBYTE))
        if len(self._samples) < SAMPLES:
            return ""
        samples = np.array(self._samples)
        slope, error = slope_of(samples)
        rises = all(slope_of(part)[0] > self._limit for part in np.split(samples, PARTS))
        if not rises or slope - STANDARD_ERRORS * error <= self._limit:
            return ""
        sure = STANDARD_ERRORS * error
        return (f"memory grows by {slope:.0f} ± {sure:.0f} MiB an hour, {self._limit:g} are allowed, "
                f"{self._samples[-1][1]:.0f} MiB are reached")


def slope_of(samples: np.ndarray) -> tuple[float, float]:
    """Return the least-squares slope of (N, 2) samples of (s, MiB) and its standard error, both in MiB an hour."""
    hours, memory = (samples[:, 0] - samples[:, 0].mean()) / 3600, samples[:, 1] - samples[:, 1].mean()
    spread = float((hours**2).sum())
    slope = float((hours * memory).sum()) / spread
    residual = memory - slope * hours
    return slope, float(np.sqrt((residual**2).sum() / (len(samples) - 2) / spread))
