"""Does something grow on a machine that others use too? By windows: a leak is in most of them, a neighbour in few."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

WINDOWS = 7


def growth_of_a_window(work: Callable[[], object], measure: Callable[[], int], windows: int = WINDOWS) -> float:
    """Return the median, over the windows, of what `measure` gives after `work` more than before it."""
    grown = []
    for _ in range(windows):
        before = measure()
        work()
        grown.append(measure() - before)
    return median(grown)
