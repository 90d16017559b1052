"""One quantity over time, against its baseline: evidence of a change, a rolling distance, an alarm that stands.

Without a baseline it learns one from its first values. What it has come to can be kept, and another process's watch
goes on from there. Knows nothing of what the quantity is.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from runtime.drift.bins import Bins
from runtime.drift.detector import Bet, Detector

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


@dataclass(frozen=True)
class Past:
    """What a watch has come to, in plain numbers: its first values, or its baseline and what came since."""

    first: tuple[float, ...] = ()
    bins: Bins | None = None
    tolerance: float = 1.0  # that the bets were made with
    recent: tuple[int, ...] = ()
    bets: tuple[Bet, ...] = ()
    stood: int = -1  # values since an alarm began that stands; none: -1
    calm_in: int = 0  # values until that alarm may end

    def __post_init__(self) -> None:
        if len(self.first) >= LEARN or (self.first and self.bins):
            raise ValueError(f"expected a baseline, or fewer than {LEARN} values, found {len(self.first)} values")
        if len(self.recent) > WINDOW or not 0 <= self.calm_in <= WINDOW or not -1 <= self.stood < 1 << 60:
            raise ValueError(f"expected at most {WINDOW} bins of late, and an alarm that can stand, found others")


class Watch:
    """A quantity's state; some KB, however long it runs."""

    def __init__(self, rules: WatchRules, baseline: Bins | None = None):
        """Compare with a baseline, or with the first values where it is None."""
        self._rules = rules
        self._first: list[float] = []
        self._baseline: Bins | None = None
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
                self._begin(Bins.of(np.array(self._first)))
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
    def past(self) -> Past:
        """What it has come to. First values are in order of size: which ones are one face's, nobody can tell."""
        if self._bins is None:
            return Past(first=tuple(sorted(self._first)))
        return Past((), self._baseline, self._rules.tolerance, tuple(self._recent), self._detector.bets,
                    self.values - self._began if self.alarming else -1, max(0, self._calm_from - self.values))

    def go_on_from(self, past: Past) -> None:
        """Go on from an earlier watch of the same, before the first value is added.

        Evidence against another baseline, or made with another tolerance, is no evidence here: it begins anew.
        """
        if self.values or self._first:
            raise ValueError("expected a watch that has met nothing yet")
        if self._bins is None and past.bins is None:
            self._first = list(past.first)
            return
        if self._bins is None and past.bins and sum(past.bins.counts) == LEARN:  # else a calibration's
            self._begin(past.bins)
        if self._bins is None or (past.bins, past.tolerance) != (self._baseline, self._rules.tolerance):
            return
        if not all(0 <= place < len(self._bins.counts) for place in past.recent):
            return
        with suppress(ValueError):  # bets on other bins
            self._detector.go_on_from(past.bets)
            self._recent.extend(past.recent)
            self.alarming, self._began, self._calm_from = past.stood >= 0, -max(0, past.stood), past.calm_in

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
        bins = baseline.upper_half() if self._rules.above_only else baseline
        limits = bins.limits(self._rules.tolerance)
        if self._rules.above_only:
            limits = (1.0, *limits[1:])
        self._detector = Detector(limits, self._rules.values_between_alarms)
        self._baseline, self._bins = baseline, bins
