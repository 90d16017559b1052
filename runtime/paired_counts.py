"""Tests of two networks on the same images, from counts: what was lost and won, and how sure that is.

Knows no image and no budget. `lost` were right before and are wrong now, `won` the reverse; both may be fractions, so
that a caller can ask what the same rates would say of more images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_STEPS = 60  # halvings of an interval no wider than 2: to the last bit of a double


def tango_score(lost: float, won: float, count: float, difference: float) -> float:
    """Return how many standard errors (lost - won) / count lies above `difference`, a share of -1…1.

    Tango 1998, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B: the variance is that
    of the most likely table whose difference is the one asked about. ±inf where that leaves none, 0 where they agree.
    """
    a = 2 * count
    b = (a - lost + won) * difference - lost - won
    c = -won * difference * (1 - difference)
    won_then = max((math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a), 0.0, -difference)
    variance = count * max(2 * won_then + difference * (1 - difference), 0.0)
    departure = lost - won - count * difference
    if variance <= 1e-12 * count:  # rounding; the least that is real is about a squared share
        return 0.0 if abs(departure) <= 1e-9 * count else math.copysign(math.inf, departure)
    return departure / math.sqrt(variance)


def tango_interval(lost: float, won: float, count: float, z: float = 1.959964) -> tuple[float, float]:
    """Return the score interval of the accuracy lost, (lost - won) / count, a share; z is 95 %'s, two-sided.

    Every difference whose score is within z (Tango 1998). Unlike Wald's it holds its level at no loss and no gain.
    (-1, 1) without an image.
    """
    if not count:
        return -1.0, 1.0
    found = (lost - won) / count
    return _crossing(lost, won, count, z, -1.0, found), _crossing(lost, won, count, -z, found, 1.0)


def _crossing(lost: float, won: float, count: float, z: float, low: float, high: float) -> float:
    """Return the difference between low and high where the score, which falls, passes z."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if tango_score(lost, won, count, middle) > z:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def mcnemar_exact(lost: int, won: int) -> float:
    """Return the two-sided probability of a split at least this uneven if losing and winning are equally likely.

    McNemar 1947, https://doi.org/10.1007/BF02295996, with the binomial distribution itself; 1 where nothing changed.
    """
    if lost == won:
        return 1.0
    changed, ways, tail = lost + won, 1, 1
    for k in range(min(lost, won)):
        ways = ways * (changed - k) // (k + 1)  # each binomial coefficient from the one before, in whole numbers
        tail += ways
    return min(1.0, 2 * tail / (1 << changed))


def holm(probabilities: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being asked together, in their order: below 0.05 holds for all at once.

    Holm 1979, https://www.jstor.org/stable/4615733; nothing is assumed of how the questions depend on one another.
    """
    order = sorted(range(len(probabilities)), key=probabilities.__getitem__)
    adjusted, least = [0.0] * len(order), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * probabilities[place]))
        adjusted[place] = least
    return adjusted
