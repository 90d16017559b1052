"""How long each stage takes: percentiles in constant memory, however many months it runs.

Durations fall into bins that grow by 5 %, so a percentile is right to within 2.5 %. Counts only grow: those of the last
minutes are today's less a copy from then, so a device that slows after months shows it within minutes. Knows nothing of
the stages.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

SHORTEST = 1e-6  # s; the first bin
GROWTH = 1.05
LOG_GROWTH = math.log(GROWTH)
BINS = 400  # up to 1.05^400 µs: five minutes
RECENT = 300.0  # s that `recent` looks back
COPIES = 5  # within them, so it looks back a fifth longer at most
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class StageTimes:
    """Histograms of durations, one a stage."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty; a stage appears when it is first timed. The clock tells `recent` what is past."""
        self._counts: dict[str, list[int]] = {}
        self._clock = clock
        self._copies: deque[tuple[float, dict[str, np.ndarray]]] = deque([(clock(), {})])

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
        return _milliseconds(np.cumsum(self._counts[stage]), share)

    def report(self) -> dict[str, dict[str, float]]:
        """Return {stage: {"p50": ms, "p95": ms, "p99": ms}} of all, stages in the order they first ran."""
        return {stage: _percentiles(np.array(counts)) for stage, counts in self._counts.items()}

    def recent(self) -> dict[str, dict[str, float]]:
        """Return the same of the last five to six minutes, or since it was asked before, where that is longer.

        A stage that did not run in them is left out.
        """
        now, counts = self._clock(), {stage: np.array(each) for stage, each in self._counts.items()}
        while len(self._copies) > 1 and now - self._copies[1][0] >= RECENT:
            self._copies.popleft()
        before = self._copies[0][1]
        if now - self._copies[-1][0] >= RECENT / COPIES:
            self._copies.append((now, counts))
        late = {stage: each - before[stage] if stage in before else each for stage, each in counts.items()}
        return {stage: _percentiles(each) for stage, each in late.items() if each.any()}


def _percentiles(counts: np.ndarray) -> dict[str, float]:
    cumulated = np.cumsum(counts)
    return {name: round(_milliseconds(cumulated, share), 3) for name, share in SHARES.items()}


def _milliseconds(cumulated: np.ndarray, share: float) -> float:
    at = int(np.searchsorted(cumulated, share * cumulated[-1]))
    return float(SHORTEST * GROWTH ** (at + 0.5) * 1e3)
