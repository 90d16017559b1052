"""How long each stage takes: percentiles in constant memory, however many months it runs.

Durations fall into bins that grow by 5 %, so a percentile is right to within 2.5 %. Knows nothing of the stages.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

SHORTEST = 1e-6  # s; the first bin
GROWTH = 1.05
LOG_GROWTH = math.log(GROWTH)
BINS = 400  # up to 1.05^400 µs: five minutes


class StageTimes:
    """Histograms of durations, one a stage."""

    def __init__(self) -> None:
        """Start empty; a stage appears when it is first timed."""
        self._counts: dict[str, list[int]] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Time the body as one duration of a stage."""
        start = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, seconds: float) -> None:
        """Count one duration."""
        counts = self._counts.get(stage)
        if counts is None:
            counts = self._counts[stage] = [0] * BINS
        counts[min(BINS - 1, int(math.log(max(seconds, SHORTEST) / SHORTEST) / LOG_GROWTH))] += 1

    def milliseconds(self, stage: str, share: float) -> float:
        """Return a percentile in ms: the duration that `share` (0–1) of all stay at or below."""
        cumulated = np.cumsum(self._counts[stage])
        at = int(np.searchsorted(cumulated, share * cumulated[-1]))
        return float(SHORTEST * GROWTH ** (at + 0.5) * 1e3)

    def report(self) -> dict[str, dict[str, float]]:
        """Return {stage: {"p50": ms, "p95": ms, "p99": ms}}, stages in the order they first ran."""
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        return {stage: {name: round(self.milliseconds(stage, share), 3) for name, share in shares.items()}
                for stage in self._counts}
