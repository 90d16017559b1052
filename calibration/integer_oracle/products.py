"""Conv, Gemm and MatMul: exact sums of products, and how far legal sums may be from them.

A Gemm is a convolution without places. Knows nothing of what the numbers mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.integer_oracle.legal import GUARD, Backend, Bounded, Grid, U, gamma, no_room

# Products of int8 are at most 2^14, and float32 holds every integer up to 2^24: sums of so many are exact in any order
EXACT_IN_FLOAT32 = 2 ** (24 - 14)
# acc → float32; three scales into one: two; times that; bias into that unit: two; plus it
EPILOGUE_ROUNDINGS = 7


@dataclass(frozen=True)
class Window:
    """How a kernel moves: one entry a spatial axis; pads are (before, after)."""

    strides: tuple[int, ...] = ()
    pads: tuple[tuple[int, int], ...] = ()
    dilations: tuple[int, ...] = ()
    group: int = 1


def correlate(x: np.ndarray, w: np.ndarray, window: Window) -> np.ndarray:
    """Return Σ x·w, (N, outputs, *places) float64, of x (N, C, *S) and w (outputs, C / group, *K), both of one type.

    Matrix products over as many taps of the kernel as keep integers exact (see `EXACT_IN_FLOAT32`).
    """
    padded = np.pad(x, ((0, 0), (0, 0), *window.pads))
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], window.dilations)]
    places = tuple((size - r) // s + 1 for size, r, s in zip(padded.shape[2:], reach, window.strides))
    outputs, channels, taps = w.shape[0], w.shape[1], list(np.ndindex(*w.shape[2:]))
    weights = w.reshape(window.group, outputs // window.group, channels, -1)
    total: np.ndarray | float = 0.0
    at_once = max(1, EXACT_IN_FLOAT32 // channels)
    for start in range(0, len(taps), at_once):
        block = range(start, min(start + at_once, len(taps)))
        columns = np.stack([_seen(padded, taps[i], places, window) for i in block], axis=2)
        columns = columns.reshape(len(x), window.group, channels, len(block), -1)
        kernel = weights[..., block.start : block.stop]
        if channels == 1:  # depth-wise: multiplying vectors is faster than a batch of tiny matrix products
            part = np.einsum("got,ngtp->ngop", kernel[:, :, 0], columns[:, :, 0])
        else:
            part = np.matmul(kernel.reshape(*kernel.shape[:2], -1),
                             columns.reshape(len(x), window.group, channels * len(block), -1))
        total = total + part.astype(np.float64, copy=False)
    return np.asarray(total).reshape(len(x), outputs, *places)


def _seen(padded: np.ndarray, tap: tuple[int, ...], places: tuple[int, ...], window: Window) -> np.ndarray:
    """Return what one tap of the kernel meets at every place, (N, C, *places)."""
    places_of = (slice(t * d, t * d + (n - 1) * s + 1, s)
                 for t, d, n, s in zip(tap, window.dilations, places, window.strides))
    index = (slice(None), slice(None), *places_of)
    return padded[index]


def multiply(x: Bounded, w: Bounded, bias: Bounded | None, window: Window, backend: Backend, onto_q: bool) -> Bounded:
    """Return Σ x·w + bias with its slack. onto_q: only integers leave this layer, so a fused backend sums in int32."""
    grids = _grids(x, w)
    if grids is not None and onto_q and backend.integer_sums:
        return _integer_sum(*grids, bias, window, backend, x)
    shift = 0.0 if bias is None else _by_channel(bias.value, x.value.ndim)
    extra = 1 if backend.rounds_every_tensor else EPILOGUE_ROUNDINGS  # the bias; and scales applied afterwards
    terms = gamma(int(np.prod(w.value.shape[1:])) + extra)
    if grids is not None:  # the same numbers, in integers: float32's matrix products are exact and faster
        step = grids[0].scale.reshape(()) * _by_channel(grids[1].scale.reshape(-1), x.value.ndim)
        integers = (grids[0].integers, grids[1].integers)
        value, magnitude = (correlate(*_narrow(f(integers[0]), f(integers[1])), window) * step
                            for f in (np.positive, np.abs))
    else:
        value, magnitude = (correlate(f(x.value), f(w.value), window) for f in (np.positive, np.abs))
    most = magnitude
    if not (no_room(x.slack) and no_room(w.slack)):
        most = correlate(np.abs(x.value) + x.slack, np.abs(w.value) + w.slack, window)
    slack = (most - magnitude) + terms * (most + np.abs(shift))
    if bias is not None and not no_room(bias.slack):
        slack = slack + _by_channel(np.asarray(bias.slack), x.value.ndim)
    return backend.store(value + shift, slack, x.dtype)


def _integer_sum(x: Grid, w: Grid, bias: Bounded | None, window: Window, backend: Backend, like: Bounded) -> Bounded:
    """An int32 sum, exact, times the two scales, plus the bias: a few float32 roundings whatever the length."""
    step = x.scale.reshape(()) * _by_channel(w.scale.reshape(-1), like.value.ndim)
    total = correlate(*_narrow(x.integers, w.integers), window)
    shift = np.zeros_like(step) if bias is None else _by_channel(bias.value, like.value.ndim)
    value = total * step + shift
    slack = gamma(EPILOGUE_ROUNDINGS) * (np.abs(total * step) + np.abs(shift))
    # whole sums of a power of two that float32 holds: nothing is rounded on the way
    unrounded = (np.frexp(step)[0] == 0.5) & (np.abs(total) <= 1 / U) & (value.astype(np.float32) == value)
    slack = np.where(unrounded, 0.0, slack)
    if backend.integer_bias:
        slack = slack + np.abs(np.rint(shift / step) * step - shift) * GUARD
    if not no_room(x.reach):
        slack = slack + correlate(*_narrow(np.asarray(x.reach), np.abs(w.integers)), window) * step * GUARD
    return backend.store(value, slack, like.dtype)


def _grids(x: Bounded, w: Bounded) -> tuple[Grid, Grid] | None:
    """Return both grids where x has one scale and w one, or one for each output channel."""
    if x.grid is None or w.grid is None or x.grid.scale.size != 1:
        return None
    scale = w.grid.scale
    by_output = scale.size == 1 or (scale.ndim == w.value.ndim and scale.size == scale.shape[0])
    return (x.grid, w.grid) if by_output else None


def _narrow(x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both in float32 where a tap's sum of integers is exact there, else in float64."""
    exact = w.shape[1] <= EXACT_IN_FLOAT32 and max(np.abs(x).max(initial=0), np.abs(w).max(initial=0)) <= 2**7
    kind = np.float32 if exact else np.float64
    return x.astype(kind), w.astype(kind)


def _by_channel(values: np.ndarray, dimensions: int) -> np.ndarray:
    """Shape one number a channel, or one in all, to broadcast over (N, channels, *places)."""
    return values.reshape(1, -1, *[1] * (dimensions - 2))
