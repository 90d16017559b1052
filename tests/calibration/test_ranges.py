"""Scales: exact in half precision, never zero, never infinite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calibration.observe import Histogram
from calibration.ranges import LEVELS, TINIEST, choose_threshold, quantize_weights, scale_of
from runtime.errors import BadInput


@settings(deadline=None)
@given(st.floats(0, 127 * 65504))
def test_a_scale_is_a_positive_number_that_half_precision_holds(threshold: float) -> None:
    scale = scale_of(threshold)
    assert scale.dtype == np.float32 and np.isfinite(scale)
    assert scale >= TINIEST and scale == np.float32(np.float16(scale))


@settings(deadline=None)
@given(st.floats(127 * TINIEST, 1e6))
def test_the_largest_integer_stands_for_the_threshold(threshold: float) -> None:
    assert LEVELS * float(scale_of(threshold)) == pytest.approx(threshold, rel=2**-11)


def test_a_tensor_that_is_always_zero_gets_a_scale() -> None:
    assert scale_of(0.0) == 1


@pytest.mark.parametrize("threshold", [1e7, float("inf"), float("nan")])
def test_a_range_that_half_precision_cannot_scale_is_refused(threshold: float) -> None:
    with pytest.raises(BadInput, match="keep this model in fp32"):
        scale_of(threshold)


@settings(deadline=None)
@given(arrays(np.float32, (4, 3, 3, 3), elements=st.floats(-8, 8, width=32)), st.integers(0, 1))
def test_quantized_weights_stay_within_127_and_near_the_floats(weights: np.ndarray, axis: int) -> None:
    integers, scales = quantize_weights(weights, axis)
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    assert integers.dtype == np.int8 and np.abs(integers.astype(int)).max() <= LEVELS
    assert len(scales) == weights.shape[axis]
    # half a step of rounding, and what the scale's own rounding clips off the largest weight
    error = np.abs(integers * scales.reshape(shape) - weights)
    assert (error <= scales.reshape(shape) * (0.5 + LEVELS * 2**-11 + 1e-3)).all()


def test_a_channel_of_zeros_stays_zero_beside_others() -> None:
    weights = np.zeros((2, 1, 3, 3), dtype=np.float32)
    weights[1] = 0.5
    integers, scales = quantize_weights(weights, 0)
    assert not integers[0].any() and (integers[1] == 127).all()
    assert (scales > 0).all() and np.isfinite(scales).all()


def histogram() -> Histogram:
    made = Histogram()
    made.add(np.append(np.linspace(0, 1, 10_000, dtype=np.float32), np.float32(50)))
    return made


def test_max_takes_the_largest_value() -> None:
    assert choose_threshold(histogram(), "max", 99) == 50


def test_a_percentile_cuts_an_outlier_off() -> None:
    assert choose_threshold(histogram(), "percentile", 99.9) < 1.1


@pytest.mark.parametrize("percentile", [0.99, 49, 101, float("nan")])
def test_a_percentile_out_of_range_is_refused(percentile: float) -> None:
    with pytest.raises(BadInput, match="50–100"):
        choose_threshold(histogram(), "percentile", percentile)
