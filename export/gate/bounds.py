"""How sure a figure is: one-sided 95 % bounds on both sides, and the probability that it is this bad by chance.

Everything takes `scale`, so that a caller can ask what the same rates would say of that many times the images. Knows no
budget and no network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from runtime.agreement import wilson_interval
from runtime.paired_counts import tango_interval, tango_score

ALPHA = 0.05  # one-sided
Z = NormalDist().inv_cdf(1 - ALPHA)


@dataclass(frozen=True)
class Measured:
    """A figure whose truth lies between `bounds(scale)`, each side missed one time in twenty.

    chance(limit): the probability of a figure at least this far *above* the limit where the truth is the limit.
    """

    value: float
    bounds: Callable[[float], tuple[float, float]]
    chance: Callable[[float], float]


def accuracy_lost(right_before: np.ndarray, right_after: np.ndarray) -> Measured:
    """Return the points of 100 that were lost on the same images, (N,) bool both: Tango's score interval."""
    count = len(right_before)
    lost, won = int((right_before & ~right_after).sum()), int((~right_before & right_after).sum())

    def bounds(scale: float) -> tuple[float, float]:
        low, high = tango_interval(scale * lost, scale * won, scale * count, Z)
        return 100 * low, 100 * high

    return Measured(100 * (lost - won) / max(1, count), bounds,
                    lambda limit: above(tango_score(lost, won, count, min(limit / 100, 1.0))) if count else 1.0)


def share_changed(changed: np.ndarray) -> Measured:
    """Return how many images of 100, (N,) bool, changed: Wilson's interval and the score test that it inverts."""
    count, hits = len(changed), int(changed.sum())

    def bounds(scale: float) -> tuple[float, float]:
        low, high = wilson_interval(scale * hits, scale * count, Z)
        return 100 * low, 100 * high

    def chance(limit: float) -> float:
        share = min(limit / 100, 1.0)
        spread, departure = math.sqrt(share * (1 - share) / max(1, count)), hits / max(1, count) - share
        return above(departure / spread) if spread else float(departure <= 0)

    return Measured(100 * hits / max(1, count), bounds, chance)


def count_changed(changed: np.ndarray) -> Measured:
    """Return how many images of 100, (N,) bool, changed, where none may: of these images it is certain."""
    share = 100 * float(changed.mean()) if len(changed) else 0.0
    return Measured(share, lambda _: (share, share), lambda limit: float(share <= limit))


def mean_of(values: np.ndarray) -> Measured:
    """Return the mean of (N,) values however skewed: Hall's cubic transformation of Student's statistic.

    Hall 1992, https://doi.org/10.1111/j.2517-6161.1992.tb01872.x. A mean of KLs, most near 0 and a few large, would
    pass more often than one time in twenty by the plain normal interval.
    """
    count, centre = len(values), float(values.mean())
    spread = float(values.std(ddof=1)) if count > 1 else math.inf
    if spread == 0 or not math.isfinite(spread):
        wide = 0.0 if spread == 0 else math.inf
        return Measured(centre, lambda _: (centre - wide, centre + wide),
                        lambda limit: float(centre <= limit or wide > 0))
    skew = float((((values - centre) / spread) ** 3).mean())

    def student(z: float, number: float) -> float:
        """Return the statistic, in spreads, whose transformed value is z standard errors."""
        wanted = z / math.sqrt(number) - skew / (6 * number)
        return 3 / skew * (float(np.cbrt(1 + skew * wanted)) - 1) if abs(skew) > 1e-6 else wanted

    def chance(limit: float) -> float:
        t = (centre - limit) / spread
        return above(math.sqrt(count) * (t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / (6 * count)))

    return Measured(centre, lambda scale: (centre - spread * student(Z, scale * count),
                                           centre - spread * student(-Z, scale * count)), chance)


def size_of(signed: Measured, negated: Measured) -> Measured:
    """Return the size of a figure that may depart either way; `negated` is the same figure of the other sign."""
    def bounds(scale: float) -> tuple[float, float]:
        low, high = signed.bounds(scale)
        return max(low, -high, 0.0), max(-low, high)

    return Measured(abs(signed.value), bounds, lambda limit: min(1.0, 2 * min(signed.chance(limit),
                                                                             negated.chance(limit))))


def above(score: float) -> float:
    """Return the probability that a standard normal value is at least `score`."""
    return 0.5 * math.erfc(score / math.sqrt(2))
