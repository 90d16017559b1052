"""Bins met one after another → the moment when they surely are not the baseline's, at a stated rate of false alarms.

The hypothesis to be left: *whatever came before, the next value falls into bin b with a share of at most limit(b)*. A
bet q, learned from the last values, is held against the hypothesis' own shares that come nearest to it: p(b) is
limit(b) where q is too large, and λ·q(b) elsewhere, so that they sum to 1. The ratio e = q(b) / p(b) has a mean of at
most 1 for every distribution that the hypothesis allows (Grünwald, de Heide and Koolen, "Safe testing", JRSS B 2024,
theorem 1). So the Shiryaev–Roberts sum M ← (M + 1)·e has a mean that grows by at most 1 a value, and so has the mean of
several that learn from longer and shorter pasts. The mean number of values to a false alarm at M ≥ c then is at least
c: Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection",
https://arxiv.org/abs/2203.03532, theorem 2.4; the sum is Roberts', Technometrics 1966.

Knows nothing of what is counted. One face seen again and again breaks the hypothesis: who samples must space them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MEMORIES = (50, 200, 800)  # values that a bet is learned from: sudden drifts, and small ones
FIRST = 20.0  # values' worth of an even spread that a bet begins with
# Of the evidence, with each value: bets that the hypothesis allows gain nothing, and an unchanged stream would
# otherwise come to the threshold by counting, as seldom as was promised but surely
FADE = 0.999
HUGE = 1e200


@dataclass(frozen=True)
class Bet:
    """One bet as it stands: what it has counted of each bin, what the next value weighs, and its sum."""

    counts: tuple[float, ...]
    weight: float
    sum: float

    def __post_init__(self) -> None:
        if not (all(0 < count <= HUGE for count in self.counts) and 0 < self.weight <= HUGE and 0 <= self.sum <= HUGE):
            raise ValueError(f"expected counts and a weight above 0, and a sum, all at most {HUGE}, found {self}")


class Detector:
    """The evidence so far. Constant memory and time a value."""

    def __init__(self, limits: Sequence[float], values_between_alarms: float):
        """Allow bin b a share of limits[b] (0–1]; alarm falsely once in `values_between_alarms` on average, or less."""
        if sum(limits) < 1 or not all(0 < limit <= 1 for limit in limits) or values_between_alarms < 1:
            raise ValueError("expected limits of 0–1 that shares can keep, and 1 or more values between alarms, found "
                             f"{limits} and {values_between_alarms}")
        self._alarm = values_between_alarms
        self._bets = [_Bet(tuple(limits), memory) for memory in MEMORIES]
        self.evidence = 0.0

    @property
    def progress(self) -> float:
        """How much of the way to an alarm the evidence has gone, 0–1, on a logarithmic scale."""
        return min(1.0, math.log1p(self.evidence) / math.log1p(self._alarm))

    @property
    def bets(self) -> tuple[Bet, ...]:
        """The evidence in plain numbers, for another process to go on from."""
        return tuple(bet.state for bet in self._bets)

    def go_on_from(self, bets: Sequence[Bet]) -> None:
        """Take the evidence of an earlier detector of the same bins. Raises ValueError where it is of others."""
        bins = self._bets[0].bins
        if len(bets) != len(self._bets) or any(len(bet.counts) != bins for bet in bets):
            raise ValueError(f"expected {len(self._bets)} bets on {bins} bins each, found others")
        for mine, bet in zip(self._bets, bets):
            mine.go_on_from(bet)
        self.evidence = min(self._alarm, sum(bet.sum for bet in self._bets) / len(self._bets))

    def add(self, place: int) -> bool:
        """Take the next value's bin; returns whether it alarms, and then gathers evidence anew."""
        self.evidence = sum(bet.add(place) for bet in self._bets) / len(self._bets)
        if self.evidence < self._alarm:
            return False
        self.evidence = 0.0
        for bet in self._bets:
            bet.sum = 0.0
        return True


class _Bet:
    """Shares learned from the past, and the Shiryaev–Roberts sum that betting on them gave."""

    def __init__(self, limits: tuple[float, ...], memory: int):
        self._limits = limits
        self._counts = [FIRST / len(limits)] * len(limits)
        self._total, self._weight, self._growth = FIRST, 1.0, memory / (memory - 1)
        self.sum = 0.0

    @property
    def bins(self) -> int:
        """On how many bins it bets."""
        return len(self._limits)

    @property
    def state(self) -> Bet:
        """The bet in plain numbers."""
        return Bet(tuple(self._counts), self._weight, self.sum)

    def go_on_from(self, bet: Bet) -> None:
        """Bet as an earlier one did."""
        self._counts, self._weight, self.sum = list(bet.counts), bet.weight, bet.sum
        self._total = math.fsum(bet.counts)

    def add(self, place: int) -> float:
        """Bet on the next value, then learn from it; returns the sum."""
        self.sum = (self.sum + 1) * self._ratio(place) * FADE
        # new values weigh ever more instead of old ones ever less: one addition, whatever the number of bins
        self._weight *= self._growth
        self._counts[place] += self._weight
        self._total += self._weight
        if self._weight > HUGE:
            self._counts = [count / self._weight for count in self._counts]
            self._total, self._weight = self._total / self._weight, 1.0
        return self.sum

    def _ratio(self, place: int) -> float:
        """Return q / p of a bin; p fills up to its limits, and what q has too much there goes to the other bins."""
        counts, limits, total = self._counts, self._limits, self._total
        more = [b for b, count in enumerate(counts) if count > limits[b] * total]
        if not more:  # the bet is a distribution that the hypothesis allows
            return 1.0
        capped: list[int] = []
        while more:  # at most once a bin: what is capped stays so
            capped += more
            rest = sum(count for b, count in enumerate(counts) if b not in capped) / total
            grown = (1 - sum(limits[b] for b in capped)) / rest if rest else math.inf
            more = [b for b, count in enumerate(counts) if count * grown > limits[b] * total and b not in capped]
        return counts[place] / (limits[place] * total) if place in capped else 1 / grown
