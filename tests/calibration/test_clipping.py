"""What a threshold clips, against counting."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from calibration.clipping import clipped_share
from runtime.histogram import Histogram


def histogram_of(values: np.ndarray) -> Histogram:
    made = Histogram()
    made.add(values)
    return made


@given(st.integers(0, 1000), st.floats(0, 5))
def test_the_share_is_what_counting_finds_up_to_one_bin(seed: int, threshold: float) -> None:
    values = np.random.default_rng(seed).normal(0, 1, 2000).astype(np.float32)
    histogram = histogram_of(values)
    width = histogram.limit / len(histogram.counts)
    low, high = (float((np.abs(values) > threshold + d).mean()) for d in (width, -width))
    assert low <= clipped_share(histogram, threshold) <= high


def test_zeros_count_as_values_that_are_not_clipped() -> None:
    values = np.zeros(1000, np.float32)
    values[:10] = 4
    assert clipped_share(histogram_of(values), 2) == 0.01


def test_nothing_lies_beyond_the_largest_value() -> None:
    assert clipped_share(histogram_of(np.linspace(-3, 2, 100, dtype=np.float32)), 3) == 0


def test_a_tensor_of_zeros_is_not_clipped() -> None:
    assert clipped_share(histogram_of(np.zeros(10, np.float32)), 0) == 0
