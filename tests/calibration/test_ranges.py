"""Scales: exact in half precision, never zero, never infinite."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calibration.ranges import (
    LEVELS,
    METHODS,
    MOST_CLIPPED,
    TINIEST,
    choose_threshold,
    entropy_threshold,
    mse_threshold,
    quantize_weights,
    scale_of,
)
from runtime.errors import BadInput
from runtime.histogram import Histogram


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


def histogram_of(values: np.ndarray, bins: int = 4096) -> Histogram:
    made = Histogram(bins)
    made.add(values.astype(np.float32))
    return made


def random_values(seed: int, count: int = 4000) -> np.ndarray:
    """Draw values as activations are: bell-shaped or long-tailed, some rectified, some with outliers."""
    random = np.random.default_rng(seed)
    values = [random.normal(0, 1, count), random.exponential(1, count), random.laplace(0, 2, count),
              random.standard_t(3, count)][seed % 4]
    values = np.maximum(values, 0) if seed % 3 else values
    return np.append(values, random.uniform(5, 30, seed % 5)).astype(np.float32)


def published_entropy(counts: list[int], levels: int = 128) -> tuple[int, list[float]]:
    """Migacz's search (GTC 2017), a candidate and a bin at a time: bins kept by the best one, and every divergence."""
    bins = max(i for i, c in enumerate(counts) if c) + 1
    found = []
    for kept in range(levels, bins + 1):
        reference = [float(c) for c in counts[:kept]]
        candidate = [0.0] * kept
        for level in range(levels):
            members = [k for k in range(kept) if k * levels // kept == level]
            filled = [k for k in members if counts[k]]
            for k in filled:
                candidate[k] = sum(counts[m] for m in members) / len(filled)
        reference[-1] += sum(counts[kept:bins])
        p_sum, q_sum, divergence = sum(reference), sum(candidate), 0.0
        for p, q in zip(reference, candidate):
            if p and not q:
                divergence = math.inf
            elif p:
                divergence += p / p_sum * math.log((p / p_sum) / (q / q_sum))
        found.append(divergence)
    return levels + min(range(len(found)), key=found.__getitem__), found


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10_000))
def test_entropy_finds_what_the_published_algorithm_finds(seed: int) -> None:
    histogram = histogram_of(random_values(seed), bins=256)
    counts = histogram.counts.tolist()
    best, divergences = published_entropy(counts)
    threshold = entropy_threshold(histogram, most_clipped=1)
    kept = round(threshold * 256 / histogram.limit - 0.5) if threshold < histogram.largest else len(divergences) + 127
    # sums in another order may tell two candidates apart that are equal
    assert kept == best or divergences[kept - 128] == pytest.approx(divergences[best - 128], abs=1e-9)


@settings(deadline=None, max_examples=6)
@given(st.lists(st.integers(0, 1000), min_size=40, max_size=40), st.integers(0, 3))
def test_entropy_agrees_with_the_published_algorithm_on_any_counts(counts: list[int], spread: int) -> None:
    histogram = Histogram(256)
    histogram.counts[:: spread + 1][:40] = counts  # gaps too: bins that nothing fell into
    histogram.counts[170] += 1
    histogram.exponent, histogram.maximum = 0, 171 / 256
    best, divergences = published_entropy(histogram.counts.tolist())
    threshold = entropy_threshold(histogram, most_clipped=1)
    kept = round(threshold * 256 - 0.5) if threshold < histogram.largest else len(divergences) + 127
    assert divergences[kept - 128] == pytest.approx(divergences[best - 128], abs=1e-9)


def test_entropy_cuts_outliers_that_hold_no_information() -> None:
    values = np.random.default_rng(0).normal(0, 1, 50_000).astype(np.float32)
    threshold = entropy_threshold(histogram_of(np.append(values, np.float32(40))))
    assert 3 < threshold < 8


def test_entropy_never_clips_most_values_away() -> None:
    # dark faces: all but a few pixels lie in a narrow band far from zero, and clipping the band costs no divergence
    random = np.random.default_rng(0)
    values = np.append(random.uniform(1.7, 2.0, 20_000), np.full(3, 0.2)).astype(np.float32)
    made = histogram_of(values)
    assert entropy_threshold(made, most_clipped=1) < 0.3
    threshold = entropy_threshold(made)
    assert (values > threshold).mean() <= MOST_CLIPPED


def integer_error(values: np.ndarray, threshold: float) -> float:
    step = threshold / LEVELS
    return float(np.mean((np.clip(np.rint(values / step), -LEVELS, LEVELS) * step - values) ** 2))


@pytest.mark.parametrize("seed", range(12))
def test_mse_is_as_good_as_the_best_of_many_thresholds(seed: int) -> None:
    values = random_values(seed, 20_000).astype(np.float64)
    made = histogram_of(values)
    tried = [integer_error(values, made.largest * share) for share in np.linspace(0.02, 1, 200)]
    assert integer_error(values, mse_threshold(made)) <= min(tried) * 1.03


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.integers(-40, 40), st.sampled_from(METHODS))
def test_scaling_the_values_scales_the_threshold(seed: int, power: int, method: str) -> None:
    values = random_values(seed)
    plain, scaled = (choose_threshold(histogram_of(v), method, 99.9) for v in (values, values * np.float32(2.0**power)))
    assert scaled == pytest.approx(plain * 2.0**power, rel=1e-9)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.floats(0.1, 10), st.sampled_from(("max", "percentile", "mse")))
def test_scaling_by_any_factor_scales_the_threshold_to_within_a_bin(seed: int, factor: float, method: str) -> None:
    values = random_values(seed)
    plain, scaled = histogram_of(values), histogram_of(values * np.float32(factor))
    wanted = choose_threshold(plain, method, 99.5) * factor
    bins = 2 * (plain.limit * factor + scaled.limit) / 4096
    slack = bins if method != "mse" else scaled.largest * 4 / 256
    assert choose_threshold(scaled, method, 99.5) == pytest.approx(wanted, abs=slack)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.floats(50, 100), st.floats(50, 100))
def test_a_larger_percentile_is_never_a_smaller_threshold(seed: int, a: float, b: float) -> None:
    made = histogram_of(random_values(seed))
    low, high = sorted((a, b))
    assert choose_threshold(made, "percentile", low) <= choose_threshold(made, "percentile", high) <= made.largest


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.sampled_from(METHODS))
def test_no_method_goes_beyond_the_largest_value(seed: int, method: str) -> None:
    made = histogram_of(random_values(seed))
    assert 0 < choose_threshold(made, method, 99.9) <= made.largest


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [[0.0] * 9, [3.0], [-3.0, 0.0], [1e-44, 1e-44], [3e38, 1.0]])
def test_few_and_strange_values_have_a_threshold_of_every_method(method: str, values: list[float]) -> None:
    made = histogram_of(np.array(values))
    assert 0 <= choose_threshold(made, method, 99.9) <= made.largest
    assert choose_threshold(made, method, 99.9) > 0 or not any(values)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(BadInput, match="max, percentile, entropy, mse, found 'kl'"):
        choose_threshold(histogram_of(np.ones(3)), "kl", 99)  # type: ignore[arg-type]


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
