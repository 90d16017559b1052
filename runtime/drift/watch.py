"""One quantity over time, against its baseline: evidence of a change, a rolling distance, an alarm that stands.

Without a baseline it learns one from its first values. Knows nothing of what the quantity is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.drift.bins import Bins
from runtime.drift.detector import Detector

LEARN = 500  # first values that stand for a missing baseline
WINDOW = 500  # last values that the distance is of
FEW = 50  # values below which the distance says nothing
CALM = 0.1  # of the stability index, below which an alarm ends: Siddiqi's "no change"


@dataclass(frozen=True)
class WatchRules:
    """How much may change, how rare false alarms are, and whether smaller values are never drift."""

    tolerance: float
    values_between_alarms: float
    above_only: bool = False


class Watch:
    """A quantity's state; some KB, however long it runs."""

    def __init__(self, rules: WatchRules, baseline: Bins | None = None):
        """Compare with a baseline, or with the first values where it is None."""
        self._rules = rules
        self._first: list[float] = []
        self._learned: Bins | None = None
        self._learns = baseline is None
        self._recent: deque[int] = deque(maxlen=WINDOW)
        self._bins: Bins | None = None
        self.values = self.alarms = self._calm_from = self._began = 0
        self.alarming = False
        self.last = 0.0
        if baseline is not None:
            self._begin(baseline)

    @property
    def learning(self) -> bool:
        """Whether there is no baseline yet."""
        return self._bins is None

    def add(self, value: float) -> bool:
        """Take one finite value; returns whether an alarm begins."""
        self.values, self.last = self.values + 1, value
        if self._bins is None:
            self._first.append(value)
            if len(self._first) == LEARN:
                self._learned = Bins.of(np.array(self._first))
                self._begin(self._learned)
                self._first.clear()
            return False
        place = self._bins.place(value)
        self._recent.append(place)
        crossed = self._detector.add(place)
        self.alarms += crossed
        begins = crossed and not self.alarming
        if begins:
            self._began = self.values
        if crossed:
            self.alarming, self._calm_from = True, self.values + WINDOW  # what came before tells of no calm
        elif self.alarming and self.values >= self._calm_from and self.stability < CALM:
            self.alarming = False
        return begins

    @property
    def learned(self) -> Bins | tuple[float, ...] | None:
        """What was learned: bins, or the first values so far; None where a baseline was given."""
        return None if not self._learns else self._learned or tuple(self._first)

    def go_on_from(self, before: Bins | Sequence[float]) -> None:
        """Take what an earlier watch of the same had `learned`, before the first value is added."""
        if self._bins is not None or self._first:
            raise ValueError("expected a watch that has learned nothing yet")
        if isinstance(before, Bins):
            self._learned = before
            self._begin(before)
        else:
            self._first = list(before)

    @property
    def stood(self) -> int:
        """How many values came since the alarm began that stands; 0 without one."""
        return self.values - self._began if self.alarming else 0

    @property
    def stability(self) -> float:
        """The stability index of the last values, only upwards where smaller is better; 0 while they are few."""
        if self._bins is None or len(self._recent) < FEW:
            return 0.0
        counts = np.bincount(self._recent, minlength=len(self._bins.counts)).tolist()
        return self._bins.stability(counts, self._rules.above_only)

    @property
    def progress(self) -> float:
        """How much of the way to an alarm the evidence has gone, 0–1."""
        return 0.0 if self._bins is None else self._detector.progress

    def _begin(self, baseline: Bins) -> None:
        self._bins = baseline.upper_half() if self._rules.above_only else baseline
        limits = self._bins.limits(self._rules.tolerance)
        if self._rules.above_only:
            limits = (1.0, *limits[1:])
        self._detector = Detector(limits, self._rules.values_between_alarms)
