"""A number with the room that legal backends have around it, and how that room grows and ends in a Q.

Knows nothing of graphs. float64 carries the exact values: the products of integers and half-precision scales fit into
its 53 bits, and its own rounding is below a millionth of the float32 roundings that are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

DType = np.dtype[Any]
FLOAT32, FLOAT16 = np.dtype(np.float32), np.dtype(np.float16)
# Unit roundoff: half of the distance from 1 to the next number
ROUNDOFF = {FLOAT32: 2.0**-24, FLOAT16: 2.0**-11, np.dtype(np.float64): 2.0**-53}
U = ROUNDOFF[FLOAT32]  # no backend may compute with less inside a node
GUARD = 1 + 2.0**-20  # covers what float64 itself rounds in a bound


@dataclass(frozen=True)
class Backend:
    """Which freedoms a backend takes.

    rounds_every_tensor: it stores each tensor in its type; else it may leave any such rounding out. integer_sums: a
    layer between integers is summed in int32. integer_bias: its bias is rounded to the step of that sum, as ONNX
    Runtime does where it fuses Q/DQ.
    """

    name: str
    rounds_every_tensor: bool = False
    integer_sums: bool = False
    integer_bias: bool = False

    def store(self, value: np.ndarray, slack: Slack, dtype: DType) -> Bounded:
        """Return what a node's output holds: one rounding to its type, done or left to the backend.

        One +, −, × or ÷ in float64, rounded to float32 or half, is that operation in float32 or half: double rounding
        is innocuous at twice the bits and two more (Figueroa, SIGNUM Newsletter 30(3), 1995).
        """
        near = _round(value, dtype)
        if self.rounds_every_tensor:
            if no_room(slack):
                return Bounded(near, 0.0, dtype)
            up, down = _round(value + slack, dtype) - near, near - _round(value - slack, dtype)
            return Bounded(near, np.maximum(up, down), dtype)
        own = ROUNDOFF[dtype] * (np.abs(value) + slack) + _tiniest(dtype)
        total = np.where((near == value) & (np.asarray(slack) == 0), 0.0, slack + own)  # what its type holds stays
        return Bounded(value, total if total.any() else 0.0, dtype)


# Each node as it stands
AS_WRITTEN = Backend("each tensor rounded to its type", rounds_every_tensor=True)
# ONNX Runtime's CPU kernels for half tensors: they compute in float32 and leave out casts that cancel
WIDENED = Backend("rounded to its type or wider")
# TensorRT: integers from Q to Q, one epilogue
FUSED = Backend("integer sums", integer_sums=True)
ONNX_RUNTIME = Backend("integer sums and biases", integer_sums=True, integer_bias=True)

Slack = np.ndarray | float  # 0.0, or the value's shape


@dataclass(frozen=True)
class Grid:
    """Integers and the scale that a DQ gives them: integers (any shape) float64, scale broadcasts to them."""

    integers: np.ndarray
    reach: Slack
    scale: np.ndarray


@dataclass(frozen=True)
class Bounded:
    """The exact value, float64, and the largest |legal − exact|, 0.0 or the same shape; `dtype` is the graph's.

    grid: where the value is integers times a scale, exactly.
    """

    value: np.ndarray
    slack: Slack
    dtype: DType
    grid: Grid | None = None


@dataclass(frozen=True)
class Rounded:
    """A Q's output: the exact integers, and the least and the largest legal one of each; all of one shape and type."""

    exact: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def reach(self) -> Slack:
        """How far a legal integer may be from the exact one: 0.0 where there is no choice at all."""
        if self.low is self.high:
            return 0.0
        exact = self.exact.astype(np.float64)
        return np.asarray(np.maximum(self.high - exact, exact - self.low))


def quantize(x: Bounded, scale: np.ndarray, zero_point: np.ndarray, backend: Backend) -> Rounded:
    """Divide by the scale and round half to even, saturating: ONNX's QuantizeLinear, zero_point's type.

    A backend that rounds every tensor divides once, in float32; another may multiply with a rounded reciprocal, which
    is exact where the scale is a power of two.
    """
    limits = np.iinfo(zero_point.dtype)

    def integers(quotient: np.ndarray) -> np.ndarray:
        clipped = np.clip(np.rint(quotient) + zero_point, limits.min, limits.max)
        return np.asarray(clipped.astype(zero_point.dtype))

    scale = scale.astype(np.float64)
    middle, room = x.value / scale, x.slack / scale if not no_room(x.slack) else 0.0
    if backend.rounds_every_tensor:
        low, middle, high = (_round(q, FLOAT32) for q in (middle - room, middle, middle + room))
        if no_room(room):
            return _certain(integers(middle))
    else:
        room = room + np.where(np.frexp(scale)[0] == 0.5, 0.0, 2 * U) * (np.abs(middle) + room)
        low, high = middle - room, middle + room
    return Rounded(integers(middle), integers(low), integers(high))


def dequantize(x: Bounded, scale: np.ndarray, zero_point: np.ndarray, dtype: DType, backend: Backend) -> Bounded:
    """Multiply integers with their scale: ONNX's DequantizeLinear. The grid stays where the product is not rounded."""
    integers, scale = x.value - zero_point, scale.astype(np.float64)
    value = integers * scale
    stored = backend.store(value, 0.0 if no_room(x.slack) else x.slack * scale, dtype)
    kept = not backend.rounds_every_tensor or np.array_equal(stored.value, value)
    return Bounded(stored.value, stored.slack, dtype, Grid(integers, x.slack, scale) if kept else None)


def gamma(roundings: int) -> float:
    """Return γ_n = n·u / (1 − n·u) of float32: the relative error of n roundings, in any order (Higham, lemma 3.1)."""
    return GUARD * roundings * U / (1 - roundings * U)


def no_room(slack: Slack) -> bool:
    """Is there one legal value only, everywhere?"""
    return isinstance(slack, float) and slack == 0


def _certain(integers: np.ndarray) -> Rounded:
    return Rounded(integers, integers, integers)


def _round(value: np.ndarray, dtype: DType) -> np.ndarray:
    """Return float64 values rounded to a type, in float64 again; beyond the type's range infinity."""
    with np.errstate(over="ignore"):
        return value.astype(dtype).astype(np.float64)


def _tiniest(dtype: DType) -> float:
    """Half of the smallest subnormal: what underflow may cost."""
    return float(np.finfo(dtype).smallest_subnormal) / 2
