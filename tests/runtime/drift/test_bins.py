"""A baseline's bins: what falls where, and how far other values are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.drift.bins import Bins

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)


@given(VALUES)
def test_each_value_lies_in_the_bin_it_was_counted_in(values: list[float]) -> None:
    bins = Bins.of(np.array(values))
    places = [bins.place(value) for value in values]
    assert np.bincount(places, minlength=len(bins.counts)).tolist() == list(bins.counts)


@given(VALUES)
def test_what_was_never_seen_has_bins_of_its_own(values: list[float]) -> None:
    bins = Bins.of(np.array(values))
    assert bins.place(max(values) + 1) == len(bins.counts) - 1 and bins.counts[-1] == 0
    assert bins.place(min(values) - 1) == 0


def test_a_thousand_values_make_tenths() -> None:
    bins = Bins.of(np.random.default_rng(0).normal(size=1000))
    assert len(bins.counts) == 12 and all(90 <= count <= 110 for count in bins.counts[1:-1])


def test_equal_values_share_a_bin() -> None:
    assert Bins.of(np.full(100, -9.0)) == Bins((-9.0,), (100, 0))


@given(VALUES)
def test_the_upper_half_keeps_every_count(values: list[float]) -> None:
    bins = Bins.of(np.array(values))
    upper = bins.upper_half()
    assert sum(upper.counts) == len(values) and 2 * upper.counts[0] >= len(values)
    assert upper.counts[1:] == bins.counts[len(bins.counts) - len(upper.counts) + 1 :]


def test_limits_are_wider_than_the_shares_and_narrow_with_more_faces() -> None:
    few, many = (Bins((0.0,), (9 * n, n)).limits(1.25)[1] for n in (10, 10_000))
    assert 0.125 < many < 0.13 < few


@given(st.lists(st.integers(0, 1000), min_size=3, max_size=3).filter(any))
def test_the_stability_index_is_zero_for_the_baseline_itself_only(counts: list[int]) -> None:
    bins = Bins((0.0, 1.0), (300, 500, 200))
    assert bins.stability(bins.counts) == 0
    assert bins.stability(counts) >= 0
    assert Bins((0.0, 1.0), tuple(counts)).stability(bins.counts) == pytest.approx(bins.stability(counts))


@given(st.lists(st.integers(0, 1000), min_size=3, max_size=3).filter(any))
def test_the_upward_index_is_of_what_rose_alone(counts: list[int]) -> None:
    bins = Bins((0.0, 1.0), (300, 500, 200))
    assert bins.stability(bins.counts, above_only=True) == pytest.approx(0)
    one_sided = bins.stability(counts, above_only=True)
    assert 0 <= one_sided < np.inf
    total, rises = sum(counts) + 1.5, (300.5 / 1001.5, 801 / 1001.5)
    shares = ((counts[0] + 0.5) / total, (counts[0] + counts[1] + 1) / total)
    if all(share <= rise for share, rise in zip(shares, rises)):
        assert one_sided == pytest.approx(bins.stability(counts))
    if all(share >= rise for share, rise in zip(shares, rises)):
        assert one_sided == pytest.approx(0, abs=1e-12)


def test_another_population_passes_a_quarter() -> None:
    bins = Bins.of(np.random.default_rng(0).normal(size=1000))
    other = [bins.place(v) for v in np.random.default_rng(1).normal(1.0, size=500)]
    assert bins.stability(np.bincount(other, minlength=12).tolist()) > 0.25


@pytest.mark.parametrize(("edges", "counts"), [
    ((), (1,)), ((1.0, 1.0), (1, 1, 1)), ((0.0,), (1, 1, 1)), ((0.0,), (0, 0)), ((0.0,), (-1, 2)),
    ((float("inf"),), (1, 1))])
def test_senseless_bins_are_refused(edges: tuple[float, ...], counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Bins(edges, counts)
