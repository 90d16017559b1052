"""How sure a figure is: each method holds its level, and agrees with its own p-value."""

from __future__ import annotations

import numpy as np
import pytest

from export.gate.bounds import ALPHA, Measured, accuracy_lost, mean_of, share_changed, size_of
from export.gate.simulate import draw_accuracy, draw_changed, draw_kl

RANDOM = np.random.default_rng(7)


@pytest.mark.parametrize(("draw", "truth"), [
    (draw_accuracy(2000, 0.03, 1.0), 1.0), (draw_changed(2000, 0.05), 5.0), (draw_kl(2000, 0.05), 0.05)])
def test_each_side_misses_the_truth_one_time_in_twenty(draw: object, truth: float) -> None:
    above = below = 0
    for _ in range(1500):
        low, high = draw(RANDOM).bounds(1.0)  # type: ignore[operator]
        above, below = above + (low > truth), below + (high < truth)
    assert 45 <= above <= 105 and 45 <= below <= 105  # 75 ± three and a half standard deviations


@pytest.mark.parametrize("measured", [
    accuracy_lost(np.arange(1000) >= 10, np.arange(1000) < 965), share_changed(np.arange(1000) < 60),
    mean_of(np.random.default_rng(0).lognormal(0, 1, 500))])
def test_the_lower_bound_is_where_chance_is_one_in_twenty(measured: Measured) -> None:
    assert measured.chance(measured.bounds(1.0)[0]) == pytest.approx(ALPHA, abs=1e-3)


def test_a_mean_without_spread_is_known() -> None:
    measured = mean_of(np.zeros(9))
    assert measured.bounds(1.0) == (0, 0) and (measured.chance(0.0), measured.chance(-1.0)) == (1, 0)


def test_a_mean_of_one_value_is_not_known() -> None:
    assert mean_of(np.ones(1)).bounds(1.0) == (-np.inf, np.inf)
    assert mean_of(np.ones(1)).chance(0.5) == 1  # far above the limit, and no failure


def test_skewed_means_reach_further_up_than_down() -> None:
    measured = mean_of(np.random.default_rng(0).lognormal(0, 1.5, 300))
    low, high = measured.bounds(1.0)
    assert high - measured.value > 1.2 * (measured.value - low)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_size_counts_either_way(sign: int) -> None:
    values = sign * (0.5 + RANDOM.normal(0, 0.1, 400))
    found = size_of(mean_of(values), mean_of(-values))
    low, high = found.bounds(1.0)
    assert 0.45 < low < found.value == pytest.approx(0.5, abs=0.03) and found.value < high < 0.55
    assert found.chance(0.4) < 0.01 < found.chance(0.6)
