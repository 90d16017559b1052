"""Intervals of medians of timings. Those close in time resemble each other, so whole blocks are drawn, not single ones.

Knows nothing of engines. Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of
Statistics 17 (1989), https://doi.org/10.1214/aos/1176347265; blocks wrap around: Politis and Romano 1992.
"""

from __future__ import annotations

import numpy as np

DRAWS = 2000


def medians_of_draws(values: np.ndarray, seed: int = 0, draws: int = DRAWS) -> np.ndarray:
    """Return the medians of (draws,) resamples of (N,) values in order of time.

    Blocks are N^(1/3) long, the order that is best for a variance (Künsch, section 3.3).
    """
    count = len(values)
    length = int(np.ceil(count ** (1 / 3)))
    starts = np.random.default_rng(seed).integers(0, count, (draws, -(-count // length), 1))
    places = ((starts + np.arange(length)) % count).reshape(draws, -1)[:, :count]
    return np.asarray(np.median(values[places], axis=1))


def interval_of_median(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of the median of (N,) values in order of time."""
    low, high = np.quantile(medians_of_draws(values), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def interval_of_ratio(new: np.ndarray, old: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of median(new) / median(old) of two runs, (N,) and (M,): not paired, so drawn apart."""
    ratios = medians_of_draws(new, seed=1) / medians_of_draws(old, seed=2)
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
