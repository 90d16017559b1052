"""Counting in constant memory: nothing lost, and the same counts whatever the order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.histogram import BINS, Histogram

MAGNITUDES = st.floats(2.0**-30, 2.0**100, width=32)  # a value below 2^-137 of the range may count as a zero
FLOATS = st.one_of(st.just(0.0), MAGNITUDES, MAGNITUDES.map(lambda v: -v))
ARRAYS = st.lists(st.lists(FLOATS, min_size=1, max_size=50), min_size=1, max_size=6)

quick = settings(deadline=None, max_examples=40)


def histogram_of(arrays: list[list[float]]) -> Histogram:
    histogram = Histogram()
    for values in arrays:
        histogram.add(np.array(values, dtype=np.float32))
    return histogram


def same_counts(a: Histogram, b: Histogram) -> bool:
    return bool((a.counts == b.counts).all()) and (a.exponent, a.zeros, a.minimum, a.maximum) == (
        b.exponent, b.zeros, b.minimum, b.maximum)


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, count).astype(np.float32)


@quick
@given(ARRAYS)
def test_no_value_is_lost_however_often_the_range_doubles(arrays: list[list[float]]) -> None:
    histogram = histogram_of(arrays)
    assert histogram.total == sum(map(len, arrays)) and (histogram.counts >= 0).all()


@quick
@given(ARRAYS)
def test_extremes_are_kept_exactly(arrays: list[list[float]]) -> None:
    values = np.concatenate([np.array(a, dtype=np.float32) for a in arrays])
    histogram = histogram_of(arrays)
    assert (histogram.minimum, histogram.maximum) == (values.min(), values.max())
    assert histogram.largest == np.abs(values).max()


@quick
@given(ARRAYS)
def test_zeros_and_nothing_else_are_counted_apart(arrays: list[list[float]]) -> None:
    assert histogram_of(arrays).zeros == sum(v == 0 for values in arrays for v in values)


@quick
@given(ARRAYS, st.randoms(use_true_random=False))
def test_neither_order_nor_parts_change_the_counts(arrays: list[list[float]], random) -> None:
    values = [v for a in arrays for v in a]
    random.shuffle(values)
    assert same_counts(histogram_of(arrays), histogram_of([values]))


@quick
@given(ARRAYS, ARRAYS)
def test_merging_is_as_if_one_pass_had_seen_all(first: list[list[float]], second: list[list[float]]) -> None:
    merged = histogram_of(first)
    merged.merge(histogram_of(second))
    assert same_counts(merged, histogram_of(first + second))


def test_merging_adds_the_moments() -> None:
    merged, other = histogram_of([[1.0, -2.0]]), histogram_of([[4.0]])
    merged.merge(other)
    assert (merged.sum, merged.squares) == (3.0, 21.0)
    assert same_counts(other, histogram_of([[4.0]]))  # the one that is merged in stays


def test_histograms_of_other_bins_do_not_merge() -> None:
    with pytest.raises(ValueError, match="4096 bins, found 64"):
        Histogram().merge(Histogram(64))


def test_a_bin_holds_its_upper_edge() -> None:
    histogram = histogram_of([[1.0], [0.25]])  # the range is 2
    assert np.flatnonzero(histogram.counts).tolist() == [BINS // 8 - 1, BINS // 2 - 1]


def test_counts_are_numpys_histogram() -> None:
    values = np.abs(noise(100_000))
    histogram = Histogram()
    histogram.add(values)
    edges = np.arange(BINS + 1) * (histogram.limit / BINS)
    wanted, _ = np.histogram(-values[values > 0], bins=-edges[::-1])  # negated: NumPy's bins hold their lower edge
    assert (histogram.counts == wanted[::-1]).all()


def test_the_moments_are_those_of_the_signed_values() -> None:
    values = noise(200_000) - 1
    histogram = Histogram()
    histogram.add(values)
    assert histogram.mean == pytest.approx(float(values.mean(dtype=np.float64)), rel=1e-4)
    assert histogram.deviation == pytest.approx(float(values.std(dtype=np.float64)), rel=1e-4)


@quick
@given(ARRAYS, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_percentile_is_never_a_smaller_magnitude(arrays: list[list[float]], a: float, b: float) -> None:
    histogram = histogram_of(arrays)
    low, high = sorted((a, b))
    assert 0 <= histogram.percentile(low) <= histogram.percentile(high) <= histogram.largest


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_percentile_is_numpys_within_a_bin(share: float) -> None:
    values = noise(20_000)
    histogram = Histogram()
    for part in np.split(np.sort(np.abs(values)), 10):  # ascending: the range must double on the way
        histogram.add(part)
    wanted = np.quantile(np.abs(values), share, method="inverted_cdf")
    assert abs(histogram.percentile(share) - wanted) <= histogram.limit / BINS


def test_the_hundredth_percentile_is_the_largest() -> None:
    histogram = Histogram()
    histogram.add(noise(1000))
    assert histogram.percentile(1.0) == histogram.largest == float(np.abs(noise(1000)).max())


def test_half_of_the_bins_or_more_are_in_use() -> None:
    histogram = Histogram()
    histogram.add(noise(1000))
    assert histogram.limit / 2 <= histogram.largest <= histogram.limit


def test_memory_does_not_grow_with_what_is_seen() -> None:
    histogram = Histogram()
    for power in range(-20, 30):
        histogram.add(np.full(1000, 2.0**power, dtype=np.float32))
    assert histogram.counts.shape == (BINS,) and histogram.counts.sum() == 50_000


@pytest.mark.parametrize("values", [[0.0, 0.0], [1e-40, 3e-45], [3.4e38, -3.4e38]])
def test_extreme_values_are_counted(values: list[float]) -> None:
    assert histogram_of([values, values]).total == 4


def test_a_tensor_that_is_always_zero_has_percentile_zero() -> None:
    assert histogram_of([[0.0] * 9]).percentile(0.99) == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        histogram_of([[1.0, value, 2.0]])


def test_a_copy_goes_its_own_way() -> None:
    histogram = histogram_of([[1.0]])
    copy = histogram.copy()
    copy.add(np.array([8.0], dtype=np.float32))
    assert same_counts(histogram, histogram_of([[1.0]])) and copy.total == 2
