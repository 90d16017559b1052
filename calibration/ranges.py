"""Histograms → scales: how large a value the largest integer stands for. Knows nothing of graphs.

Symmetric INT8: value ≈ integer · scale with integers of -127–127 and zero-point 0, as TensorRT asks.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from calibration.observe import Histogram
from runtime.errors import BadInput

Method = Literal["max", "percentile"]
LEVELS = 127
LARGEST = float(np.finfo(np.float16).max)
TINIEST = float(np.finfo(np.float16).tiny)  # a scale below this has no full-precision half


def choose_threshold(histogram: Histogram, method: Method, percentile: float) -> float:
    """Return the magnitude to clip at: the largest seen, or the one below which `percentile` of 100 lies."""
    if method == "max":
        return histogram.largest
    if not 50 <= percentile <= 100:
        raise BadInput(f"expected a percentile of 50–100, found {percentile}")
    return histogram.percentile(percentile / 100)


def scale_of(threshold: float) -> np.float32:
    """Return the scale for a threshold, rounded to half precision so that every form of the graph holds the same.

    A tensor that is always zero gets scale 1: any would do, and none may be zero. Raises BadInput above 127 · 65504.
    """
    if threshold == 0:
        return np.float32(1)
    if not threshold <= LEVELS * LARGEST:
        raise BadInput(f"expected values up to {LEVELS * LARGEST:.3g}, whose scale half precision holds, found "
                       f"{threshold:.3g}; keep this model in fp32")
    return np.float32(np.float16(max(threshold / LEVELS, TINIEST)))


def quantize_weights(weights: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (int8 weights clamped to ±127, float32 scales along `axis`), one symmetric scale a channel."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    scales = np.array([scale_of(float(top)) for top in np.abs(weights).max(axis=others)], dtype=np.float32)
    shape = [1] * weights.ndim
    shape[axis] = -1
    integers = np.clip(np.rint(weights / scales.reshape(shape)), -LEVELS, LEVELS)
    return integers.astype(np.int8), scales
