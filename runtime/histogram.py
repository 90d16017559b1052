"""What one tensor held, in constant memory: counts of |x| in equal bins whose range doubles, and its moments.

The range is a power of two and doubles by merging pairs of bins, so that the counts depend on the values alone, not on
their order or on how they came in parts, and any two histograms merge exactly (a value below 2^-137 of the range may
count as a zero). Knows nothing of graphs, images or INT8.
"""

from __future__ import annotations

import math

import numpy as np

BINS = 4096  # twice the 2,048 of NVIDIA's calibrator (Migacz, GTC 2017), so that a doubling keeps its resolution
MIN_EXPONENT, MAX_EXPONENT = -100, 128  # of the range: below, bins / limit overflows float32; above lies no float32
_CHUNK = 1 << 15  # values counted at a time: what is read and the two scratch arrays stay in a core's 1–2 MB of cache
_ONES = np.ones(_CHUNK, dtype=np.float32)


class Histogram:
    """Counts of |x| in bins (i·w, (i+1)·w] with w = limit / bins, zeros apart; signed extremes and moments beside."""

    def __init__(self, bins: int = BINS):
        self.counts = np.zeros(bins, dtype=np.int64)
        self.exponent: int | None = None  # the range is 2^exponent; None until a value other than zero was seen
        self.zeros = 0
        self.minimum, self.maximum = math.inf, -math.inf
        self.sum = self.squares = 0.0  # of float32 partial sums: about six digits

    @property
    def limit(self) -> float:
        """Upper end of the range: less than twice the largest magnitude; 0 where only zeros were seen."""
        return 0.0 if self.exponent is None else math.ldexp(1.0, self.exponent)

    @property
    def total(self) -> int:
        """Number of values seen, zeros included."""
        return int(self.counts.sum()) + self.zeros

    @property
    def largest(self) -> float:
        """Largest magnitude seen, exactly; 0 where nothing was."""
        return max(-self.minimum, self.maximum, 0.0)

    @property
    def mean(self) -> float:
        """Mean of the signed values."""
        return self.sum / max(self.total, 1)

    @property
    def deviation(self) -> float:
        """Standard deviation of the signed values."""
        return math.sqrt(max(self.squares / max(self.total, 1) - self.mean**2, 0.0))

    def add(self, values: np.ndarray) -> None:
        """Count float32 values of any shape. Raises ValueError where one is not finite; what came before it counts."""
        flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
        scaled, index = np.empty(_CHUNK, dtype=np.float32), np.empty(_CHUNK, dtype=np.intp)
        for start in range(0, flat.size, _CHUNK):
            chunk = flat[start : start + _CHUNK]
            self._add_chunk(chunk, scaled[: chunk.size], index[: chunk.size])

    def _add_chunk(self, chunk: np.ndarray, scaled: np.ndarray, index: np.ndarray) -> None:
        low, high = float(chunk.min()), float(chunk.max())
        if not (math.isfinite(low) and math.isfinite(high)):  # NumPy's min and max hand a NaN on
            raise ValueError("expected finite values")
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        magnitude = max(-low, high)
        if magnitude > 0:
            self._reach(max(math.frexp(magnitude)[1], MIN_EXPONENT))
        if self.exponent is None:
            self.zeros += chunk.size
            return
        bins = len(self.counts)
        width = self.limit / bins
        np.multiply(chunk, np.float32(1 / width), out=scaled)  # exact: by a power of two
        self.sum += float(np.dot(scaled, _ONES[: chunk.size])) * width  # scaled, so that no square overflows
        self.squares += float(np.dot(scaled, scaled)) * width**2
        if low < 0:
            np.abs(scaled, out=scaled)
        np.ceil(scaled, out=scaled)  # so that only a zero falls to 0: counting zeros costs no pass of its own
        np.copyto(index, scaled, casting="unsafe")
        found = np.bincount(index, minlength=bins + 1)
        self.zeros += int(found[0])
        self.counts += found[1:]

    def _reach(self, exponent: int) -> None:
        """Double the range until it is at least 2^exponent."""
        if self.exponent is None:
            self.exponent = exponent
        elif exponent > self.exponent:
            self.counts = _widened(self.counts, exponent - self.exponent)
            self.exponent = exponent

    def merge(self, other: Histogram) -> None:
        """Add another histogram's counts, as if its values had been added here. Raises ValueError for other bins."""
        if len(other.counts) != len(self.counts):
            raise ValueError(f"expected {len(self.counts)} bins, found {len(other.counts)}")
        if other.exponent is not None:
            self._reach(other.exponent)
            assert self.exponent is not None
            self.counts = self.counts + _widened(other.counts, self.exponent - other.exponent)
        self.zeros += other.zeros
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.sum, self.squares = self.sum + other.sum, self.squares + other.squares

    def copy(self) -> Histogram:
        """Return a histogram that goes its own way from here."""
        made = Histogram(0)
        made.__dict__.update(self.__dict__, counts=self.counts.copy())
        return made

    def edges(self) -> np.ndarray:
        """Return the bins' edges, (bins + 1,) float64 from 0, none above the largest magnitude."""
        width = self.limit / max(len(self.counts), 1)
        return np.asarray(np.minimum(np.arange(len(self.counts) + 1) * width, self.largest))

    def percentile(self, share: float) -> float:
        """Return the magnitude below which `share` (0–1) of all values lie: a bin's upper edge, at most the largest."""
        total = self.total
        if self.exponent is None:
            return 0.0
        below = self.zeros + np.cumsum(self.counts)
        index = int(np.searchsorted(below, share * total, side="left"))
        return min(self.largest, (index + 1) * self.limit / len(self.counts))


def _widened(counts: np.ndarray, doublings: int) -> np.ndarray:
    """Return counts over a range 2^doublings times as wide, as many bins."""
    bins = len(counts)
    group = min(1 << min(doublings, 62), bins)
    merged = np.zeros(bins, dtype=np.int64)
    merged[: bins // group] = counts.reshape(-1, group).sum(axis=1)
    return merged
