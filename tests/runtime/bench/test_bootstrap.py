"""Intervals of medians: what they must hold, on drawn timings."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.bench.bootstrap import interval_of_median, interval_of_ratio, medians_of_draws

times = st.lists(st.floats(0.1, 1e3), min_size=2, max_size=60).map(np.array)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(times)
def test_an_interval_lies_among_the_values_and_in_order(values: np.ndarray) -> None:
    low, high = interval_of_median(values)
    assert values.min() <= low <= high <= values.max()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(times, times, st.floats(0.1, 10))
def test_a_run_that_takes_k_times_as_long_has_k_times_the_ratio(new: np.ndarray, old: np.ndarray, k: float) -> None:
    assert np.allclose(interval_of_ratio(k * new, old), k * np.array(interval_of_ratio(new, old)))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(times)
def test_the_same_values_give_the_same_interval(values: np.ndarray) -> None:
    assert interval_of_median(values) == interval_of_median(values)


def test_the_interval_holds_the_true_median_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    held = [low <= 1.0 <= high for low, high in
            (interval_of_median(random.lognormal(0, 0.2, 200)) for _ in range(100))]
    assert 0.88 <= np.mean(held) <= 0.99


def test_the_ratio_of_equal_runs_is_one_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    held = [low <= 1.0 <= high for low, high in
            (interval_of_ratio(random.lognormal(0, 0.2, 150), random.lognormal(0, 0.2, 150)) for _ in range(60))]
    assert 0.88 <= np.mean(held) <= 1.0


def test_slow_minutes_widen_the_interval() -> None:
    # the same values: in waves, as a governor or a neighbour makes them, and mixed
    random = np.random.default_rng(2)
    waves = 1 + 0.1 * np.sin(np.arange(400) * 2 * np.pi / 80) + random.normal(0, 0.01, 400)
    assert medians_of_draws(waves).std() > 1.5 * medians_of_draws(random.permutation(waves)).std()


def test_one_value_has_itself_for_an_interval() -> None:
    assert interval_of_median(np.array([3.0])) == (3.0, 3.0)
