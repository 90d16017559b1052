"""How often each expression was seen in the last minute, hour and day, in constant memory.

Times are seconds of one clock that never jumps; which clock, and what is counted, the caller knows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

LABELS = 16  # told apart; a model has 7 or 8, and "unsure"
WINDOWS: Mapping[str, tuple[int, float]] = {"minute": (60, 1.0), "hour": (60, 60.0), "day": (96, 900.0)}  # bins, s each


class Shares:
    """Counts by label in bins of three windows; what is older than a window leaves it."""

    def __init__(self) -> None:
        """Start empty; a label appears when it is first counted."""
        self._labels: list[str] = []
        self._rings = {name: _Ring(*window) for name, window in WINDOWS.items()}

    def add(self, label: str, seconds: float, count: int = 1) -> None:
        """Count a label at a time; a 17th label is not told apart, and not counted."""
        if label not in self._labels:
            if len(self._labels) == LABELS:
                return
            self._labels.append(label)
        for ring in self._rings.values():
            ring.add(self._labels.index(label), seconds, count)

    def report(self, now: float) -> dict[str, Any]:
        """Return {window: {"seconds": of a bin, "labels": {label: [counts, oldest bin first]}}}."""
        counts = {name: ring.counts(now) for name, ring in self._rings.items()}
        return {name: {"seconds": WINDOWS[name][1],
                       "labels": {label: counts[name][:, at].tolist() for at, label in enumerate(self._labels)}}
                for name in WINDOWS}


class _Ring:
    """Bins of equal duration; bin k holds the times of [k, k + 1) · seconds, at place k modulo the number of bins."""

    def __init__(self, bins: int, seconds: float):
        self._seconds = seconds
        self._counts = np.zeros((bins, LABELS), np.int64)
        self._newest: int | None = None

    def add(self, label: int, when: float, count: int) -> None:
        at = math.floor(when / self._seconds)
        self._advance(at)
        if self._newest is not None and at > self._newest - len(self._counts):
            self._counts[at % len(self._counts), label] += count

    def counts(self, now: float) -> np.ndarray:
        """Return (bins, labels), the bin of `now` last."""
        self._advance(math.floor(now / self._seconds))
        assert self._newest is not None  # advanced just now
        return np.roll(self._counts, -(self._newest + 1) % len(self._counts), axis=0)

    def _advance(self, at: int) -> None:
        """Empty the bins between the newest and this one."""
        newest = self._newest
        if newest is None or at > newest:
            passed = range(newest + 1, at + 1) if newest is not None else range(0)
            for each in passed[-len(self._counts) :]:
                self._counts[each % len(self._counts)] = 0
            self._newest = at
