"""Histograms → scales: how large a value the largest integer stands for. Knows nothing of graphs.

Symmetric INT8: value ≈ integer · scale with integers of -127–127 and zero-point 0, as TensorRT asks. Every search looks
at all of its candidates at once, as arrays.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from runtime.errors import BadInput
from runtime.histogram import Histogram

Method = Literal["max", "percentile", "entropy", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
LEVELS = 127
LARGEST = float(np.finfo(np.float16).max)
TINIEST = float(np.finfo(np.float16).tiny)  # a scale below this has no full-precision half
ENTROPY_LEVELS = 128  # magnitudes that INT8 tells apart, zero included (Migacz, GTC 2017)
# Share of a tensor's non-zero values that entropy may clip. KL compares *clipped* values with their levels, so it is 0
# where all but one value are clipped onto that one: dark faces, far from zero everywhere, ended so. Usual is 10⁻⁴–10⁻³.
MOST_CLIPPED = 0.01
MSE_CANDIDATES = 256  # thresholds tried, evenly from largest / 256 to the largest


def choose_threshold(histogram: Histogram, method: Method, percentile: float) -> float:
    """Return the magnitude to clip at, by the largest seen, a percentile (of 100), least KL or least squared error."""
    if method == "percentile":
        if not 50 <= percentile <= 100:
            raise BadInput(f"expected a percentile of 50–100, found {percentile}")
        return histogram.percentile(percentile / 100)
    if method == "entropy":
        return entropy_threshold(histogram)
    if method == "mse":
        return mse_threshold(histogram)
    if method == "max":
        return histogram.largest
    raise BadInput(f"expected a method among {', '.join(METHODS)}, found {method!r}")


def entropy_threshold(histogram: Histogram, most_clipped: float = MOST_CLIPPED) -> float:
    """Return the threshold whose 128 levels lose least information: KL(clipped ‖ its levels), all candidates at once.

    Candidate i keeps the first i bins, adds what lies above to the last of them, and spreads each level's count over
    its filled bins; bin k is in level ⌊128·k / i⌋. Zeros, which INT8 holds exactly, are left out; so are candidates
    that clip a larger share than `most_clipped` (1: as published). Migacz, "8-bit Inference with TensorRT", GTC 2017:
    https://on-demand.gputechconf.com/gtc/2017/presentation/s7310-8-bit-inference-with-tensorrt.pdf
    """
    used = np.flatnonzero(histogram.counts)
    if not len(used):
        return 0.0
    counts = histogram.counts[: used[-1] + 1].astype(np.float64)
    bins = len(counts)
    if bins <= ENTROPY_LEVELS:
        return histogram.largest
    kept = np.arange(ENTROPY_LEVELS, bins + 1)
    values, filled, information = (_running(a) for a in (counts, counts > 0, _xlogx(counts)))
    edges = -(-np.arange(ENTROPY_LEVELS + 1) * kept[:, None] // ENTROPY_LEVELS)  # the first bin of every level
    level_values, level_filled = np.diff(values[edges], axis=1), np.diff(filled[edges], axis=1)
    inside, last, total = values[kept], counts[kept - 1], values[-1]
    outside = total - inside
    # Σ c·log q over the kept bins, with q = level's count / its filled bins / everything kept
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.where(level_values > 0, np.log(level_values / level_filled), 0.0)
        crossed = (level_values * spread).sum(axis=1) + outside * spread[:, -1] - total * np.log(inside)
        own = information[kept] - _xlogx(last) + _xlogx(last + outside) - total * np.log(total)
    # where the last bin was empty, p holds the clipped values and q nothing: infinitely far
    refused = ((outside > 0) & (last == 0)) | (outside > most_clipped * total)
    divergence = np.where(refused, np.inf, (own - crossed) / total)
    best = int(kept[np.argmin(divergence)])
    return min(histogram.largest, (best + 0.5) * histogram.limit / len(histogram.counts))


def mse_threshold(histogram: Histogram) -> float:
    """Return the threshold of least mean squared error between values and their INT8 neighbours.

    Values count as evenly spread inside a bin; the error of rounding and of clipping is then an integral with a closed
    form, so the bins may be coarser than a quantization step.
    """
    used = np.flatnonzero(histogram.counts)
    if not len(used):
        return 0.0
    counts, edges = histogram.counts[: used[-1] + 1], histogram.edges()[: used[-1] + 2]
    thresholds = histogram.largest * np.arange(1, MSE_CANDIDATES + 1)[:, None] / MSE_CANDIDATES
    steps = thresholds / LEVELS
    inside = np.minimum(edges, thresholds) / steps
    nearest = np.rint(inside)
    # ∫(v - rint v)² dv from 0 to u is rint(u)/12 + (u - rint u)³/3; what is clipped adds ∫(x - t)² dx
    error = steps**3 * (nearest / 12 + (inside - nearest) ** 3 / 3) + np.maximum(edges - thresholds, 0) ** 3 / 3
    width = np.maximum(np.diff(edges), np.finfo(np.float64).tiny)
    mean = (np.diff(error, axis=1) / width * counts).sum(axis=1)
    return float(thresholds[int(np.argmin(mean)), 0])


def _running(values: np.ndarray) -> np.ndarray:
    """Return sums of the first 0, 1, … values, float64 (counts stay exact below 2^53)."""
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _xlogx(values: np.ndarray) -> np.ndarray:
    return np.asarray(values * np.log(np.maximum(values, 1.0)))  # counts: 0 or at least 1


def scale_of(threshold: float) -> np.float32:
    """Return the scale for a threshold, rounded to half precision so that every form of the graph holds the same.

    A tensor that is always zero gets scale 1: any would do, and none may be zero. Raises BadInput above 127 · 65504.
    """
    if not threshold <= LEVELS * LARGEST:
        raise BadInput(f"expected values up to {LEVELS * LARGEST:.3g}, whose scale half precision holds, found "
                       f"{threshold:.3g}; keep this model in fp32")
    scale: np.float32 = np.float32(np.float16(max(threshold / LEVELS, TINIEST))) if threshold else np.float32(1)
    return scale


def quantize_weights(weights: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (int8 weights clamped to ±127, float32 scales along `axis`), one symmetric scale a channel."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    tops = np.abs(np.maximum(weights.max(axis=others), -weights.min(axis=others)))
    scales = np.array([scale_of(float(top)) for top in tops], dtype=np.float32)
    shape = [1] * weights.ndim
    shape[axis] = -1
    scaled = weights / scales.reshape(shape)  # the one copy: VGG16's first dense layer is 75 MB
    np.rint(scaled, out=scaled)
    np.clip(scaled, -LEVELS, LEVELS, out=scaled)
    return scaled.astype(np.int8), scales
