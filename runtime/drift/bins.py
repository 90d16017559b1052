"""A baseline's values → bins of about equal count, and how far other values' bins are from them.

Tenths between the baseline's extremes, and one bin beyond each: what was never seen stands apart. Knows nothing of what
a value means, or of time.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.agreement import wilson_interval

TENTHS = 10
SURE = 4.0  # standard errors of a bin's share that a finite baseline may be wrong by: 3 in 100,000, one-sided
MAX_BINS = TENTHS + 2


@dataclass(frozen=True)
class Bins:
    """Ascending edges, and the baseline's counts; bin i holds (edges[i-1], edges[i]], the last what lies above."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.edges, self.edges[1:])) and all(map(math.isfinite, self.edges))
        if not rising or not 1 <= len(self.edges) < MAX_BINS or len(self.counts) != len(self.edges) + 1:
            raise ValueError(f"expected 1–{MAX_BINS - 1} rising edges and a count more, found {self}")
        if min(self.counts) < 0 or not sum(self.counts):
            raise ValueError(f"expected counts of 0 or more and one above 0, found {self.counts}")

    @classmethod
    def of(cls, values: np.ndarray) -> Bins:
        """Make the bins of (N,) finite values, N ≥ 1; equal values share a bin, so there may be fewer than tenths."""
        edges = np.unique(np.quantile(values, np.linspace(0, 1, TENTHS + 1), method="lower"))
        places = np.searchsorted(edges, values, side="left")
        return cls(tuple(edges.tolist()), tuple(np.bincount(places, minlength=len(edges) + 1).tolist()))

    def place(self, value: float) -> int:
        """Return the bin of a value."""
        return bisect_left(self.edges, value)

    def upper_half(self) -> Bins:
        """Return bins of which the first holds all up to the median; fewer of them are learned sooner."""
        below = np.cumsum(self.counts)
        last = int(np.searchsorted(below, below[-1] / 2))
        last = min(last, len(self.edges) - 1)
        return Bins(self.edges[last:], (int(below[last]), *self.counts[last + 1 :]))

    def limits(self, tolerance: float) -> tuple[float, ...]:
        """Return the most that each bin's share may be: the tolerance times the upper limit of the baseline's."""
        total = sum(self.counts)
        return tuple(min(1.0, tolerance * wilson_interval(count, total, SURE)[1]) for count in self.counts)

    def stability(self, counts: Sequence[int], above_only: bool = False) -> float:
        """Return the population stability index of other counts in these bins: 0 alike, above 0.25 another population.

        Σ (p - q) ln(p / q), half a count added to each bin so that empty ones count finitely. Siddiqi, "Credit risk
        scorecards", 2006, for the rule of thumb; the index is Jeffreys' divergence. With `above_only` it is that of the
        nearest counts that are nowhere below the baseline's: what has gone down alone has an index of 0.
        """
        p, q = (np.asarray(c, np.float64) + 0.5 for c in (counts, self.counts))
        p, q = p / p.sum(), q / q.sum()
        if above_only:
            p = np.diff(np.minimum(np.cumsum(p), np.cumsum(q)), prepend=0.0)
        return float(((p - q) * np.log(p / q)).sum())
