"""Tests of paired counts, against published intervals and a likelihood searched by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runtime.paired_counts import holm, mcnemar_exact, tango_interval, tango_score

COUNTS = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 300))


def test_tangos_interval_is_the_published_one() -> None:
    # Airway hyper-responsiveness of 21 children before and after a transplantation (Bentur et al. 2009), as worked in
    # Fagerland, Lydersen and Laake 2014, https://doi.org/10.1002/sim.6148: 1 and 7 children changed
    assert tango_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


def likeliest_score(lost: int, won: int, count: int, difference: float) -> float:
    """Return the score with the variance of the likeliest table of this difference, searched on a grid."""
    p_won = np.linspace(max(0.0, -difference) + 1e-9, (1 - difference) / 2 - 1e-9, 400_001)
    likelihood = np.zeros_like(p_won)
    for seen, share in ((lost, p_won + difference), (won, p_won), (count - lost - won, 1 - 2 * p_won - difference)):
        likelihood += seen * np.log(np.maximum(share, 1e-300)) if seen else 0
    best = float(p_won[likelihood.argmax()])
    return (lost - won - count * difference) / math.sqrt(count * (2 * best + difference - difference**2))


@pytest.mark.parametrize(("lost", "won", "count", "difference"), [
    (12, 2, 50, 0.05), (12, 2, 50, -0.1), (3, 9, 100, -0.2), (0, 4, 40, 0.1), (5, 0, 30, -0.3), (16, 14, 3301, 0.01),
    (0, 0, 50, 0.03), (0, 0, 50, -0.03), (20, 20, 40, 0.3)])
def test_the_score_uses_the_likeliest_table_of_that_difference(lost: int, won: int, count: int,
                                                               difference: float) -> None:
    assert tango_score(lost, won, count, difference) == pytest.approx(
        likeliest_score(lost, won, count, difference), rel=1e-3, abs=1e-4)


@settings(deadline=None)
@given(COUNTS)
def test_the_interval_holds_the_difference_and_turns_with_it(counts: tuple[int, int, int]) -> None:
    lost, won, count = counts
    assume(lost + won <= count)
    low, high = tango_interval(lost, won, count)
    assert -1 <= low <= (lost - won) / count <= high <= 1
    assert tango_interval(won, lost, count) == pytest.approx((-high, -low), abs=1e-9)


@settings(deadline=None)
@given(COUNTS)
def test_the_intervals_ends_are_where_the_score_reaches_z(counts: tuple[int, int, int]) -> None:
    lost, won, count = counts
    assume(0 < lost + won < count)
    low, high = tango_interval(lost, won, count, 1.6449)
    assert tango_score(lost, won, count, low) == pytest.approx(1.6449, abs=1e-3)
    assert tango_score(lost, won, count, high) == pytest.approx(-1.6449, abs=1e-3)


def test_ten_times_the_images_at_the_same_rates_tell_more() -> None:
    few, many = tango_interval(8, 4, 500), tango_interval(80, 40, 5000)
    assert few[0] < many[0] < many[1] < few[1]


def test_without_an_image_nothing_is_known() -> None:
    assert tango_interval(0, 0, 0) == (-1, 1)


@pytest.mark.parametrize(("lost", "won", "wanted"), [
    (0, 0, 1.0), (5, 5, 1.0), (0, 5, 2 / 32), (1, 7, 2 * 9 / 256), (10, 2, 2 * 79 / 4096)])
def test_mcnemars_p_is_the_binomials_two_tails(lost: int, won: int, wanted: float) -> None:
    assert mcnemar_exact(lost, won) == pytest.approx(wanted)
    assert mcnemar_exact(won, lost) == mcnemar_exact(lost, won)


def test_mcnemar_stands_thousands_of_changes() -> None:
    assert 0 < mcnemar_exact(2600, 2400) < 0.01


def test_holm_steps_down() -> None:
    # by hand: 4·0.005, 3·0.01, then 2·0.03 = 0.06, and the last may not be below it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_between_nothing_and_bonferroni(probabilities: list[float]) -> None:
    for before, after in zip(probabilities, holm(probabilities)):
        assert before <= after <= min(1.0, len(probabilities) * before) + 1e-12
