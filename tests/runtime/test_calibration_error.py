"""How sure answers are against how often they are right, and the interval of a share, against figures done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.agreement import negative_log_likelihood, reliability, wilson_interval


def sure_of(*confidence: float) -> np.ndarray:
    """Two-class probabilities that say class 0 with these confidences, each above a half."""
    return np.array([[c, 1 - c] for c in confidence])


def test_the_likelihood_is_the_mean_of_the_true_labels_logarithms() -> None:
    found = negative_log_likelihood(np.array([[0.5, 0.5], [0.1, 0.9]]), np.array([0, 1]))
    assert found == pytest.approx(-(np.log(0.5) + np.log(0.9)) / 2)


def test_a_true_label_of_no_probability_costs_much_but_not_infinitely() -> None:
    assert 600 < negative_log_likelihood(np.array([[1.0, 0.0]]), np.array([1])) < 1000


def test_answers_as_sure_as_right_have_no_calibration_error() -> None:
    labels = np.array([0, 0, 0, 1])  # three of four right, at 75 %
    assert reliability(sure_of(0.75, 0.75, 0.75, 0.75), labels).error == pytest.approx(0)


def test_the_error_weights_each_bins_gap_by_its_images() -> None:
    # three at 0.95, all right: a gap of 0.05; one at 0.55, wrong: a gap of 0.55
    found = reliability(sure_of(0.95, 0.95, 0.95, 0.55), np.array([0, 0, 0, 1]), bins=10)
    assert found.error == pytest.approx(3 / 4 * 0.05 + 1 / 4 * 0.55)
    assert found.images.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 3]
    assert np.isnan(found.accuracy[:5]).all() and found.accuracy[5] == 0 and found.accuracy[9] == 1


def test_gaps_of_one_bin_cancel_and_those_of_two_do_not() -> None:
    labels = np.array([0, 1])
    assert reliability(sure_of(0.5, 0.5), labels, bins=10).error == pytest.approx(0)
    assert reliability(sure_of(0.55, 0.75), labels, bins=10).error == pytest.approx((0.45 + 0.75) / 2)


def test_a_bins_upper_edge_belongs_to_it() -> None:
    found = reliability(sure_of(0.8, 0.8001, 1.0), np.zeros(3, np.int64), bins=5)
    assert found.images.tolist() == [0, 0, 0, 1, 2]


@settings(deadline=None)
@given(st.integers(1, 5000), st.data())
def test_an_interval_holds_its_share_and_stays_a_share(count: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, count))
    low, high = wilson_interval(hits, count)
    assert 0 <= low <= hits / count + 1e-12 and hits / count - 1e-12 <= high <= 1 and low < high


def test_an_interval_is_wilsons() -> None:
    # 81 of 263, Newcombe 1998 (Statistics in Medicine 17), table I, method 3
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_four_times_the_images_halve_the_interval() -> None:
    few, many = (wilson_interval(7 * n, 10 * n) for n in (100, 400))
    assert (few[1] - few[0]) / (many[1] - many[0]) == pytest.approx(2, rel=0.01)


def test_no_image_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0, 1)


@pytest.mark.parametrize("z", [1.6448536269514722, 1.959964])
def test_an_interval_ends_exactly_where_none_or_all_are_hits(z: float) -> None:
    counts = [*range(1, 5000), *(3301 * 1.01**power for power in range(100))]
    assert {wilson_interval(0, count, z)[0] for count in counts} == {0.0}
    assert {wilson_interval(count, count, z)[1] for count in counts} == {1.0}
