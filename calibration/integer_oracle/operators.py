"""What each ONNX operator of the zoo's graphs does to a bounded number. Conv, Gemm and MatMul sum in `products`.

An operator knows its inputs, its attributes and the backend's freedoms, and nothing of the graph around it.
Meanings: https://onnx.ai/onnx/operators/. Nothing else is executed: the oracle refuses it by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import helper

from calibration.integer_oracle.legal import Backend, Bounded, Grid, U, dequantize, gamma, no_room
from calibration.integer_oracle.products import Window, multiply
from runtime.errors import BadInput

# Exponentials are approximated. CUDA's __expf is within 2 + 1.173·|x| units in the last place, each at most 2 u (CUDA
# C++ programming guide, intrinsic functions); ONNX Runtime 1.31 within 1.2 u on ±20. A sigmoid is approximated as a
# whole, with an absolute error: 3 u in ONNX Runtime 1.31
EXP_UNITS, EXP_UNITS_PER_X, SIGMOID_UNITS = 4.0, 2.4, 8.0


@dataclass(frozen=True)
class Call:
    """One node as its operator sees it: attributes, inputs (None where left out), and whether only Q nodes follow."""

    kind: str
    attributes: Mapping[str, Any]
    inputs: Sequence[Bounded | None]
    backend: Backend
    onto_q: bool

    def input(self, index: int) -> Bounded:
        """Return an input that must be there."""
        found = self.inputs[index]
        assert found is not None  # onnx.checker has seen the graph
        return found

    def optional(self, index: int) -> Bounded | None:
        """Return an input, or None where it was left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def integers(self, index: int) -> list[int]:
        """Return a tensor of axes or sizes as a list."""
        return [int(v) for v in self.input(index).value.ravel()]


def _moved(x: Bounded, move: Callable[[np.ndarray], np.ndarray]) -> Bounded:
    """Only move values: nothing is computed, nothing rounded."""
    slack = x.slack if no_room(x.slack) else move(np.asarray(x.slack))
    return Bounded(move(x.value), slack, x.dtype)


def _reshape(call: Call) -> Bounded:
    sizes = call.integers(1)

    def move(values: np.ndarray) -> np.ndarray:
        keeps = not call.attributes.get("allowzero", 0)
        return values.reshape([values.shape[i] if size == 0 and keeps else size for i, size in enumerate(sizes)])

    return _moved(call.input(0), move)


def _flatten(call: Call) -> Bounded:
    axis = call.attributes.get("axis", 1)
    return _moved(call.input(0), lambda v: v.reshape(int(np.prod(v.shape[:axis])), -1))


def _transpose(call: Call) -> Bounded:
    return _moved(call.input(0), lambda v: np.transpose(v, call.attributes.get("perm")))


def _squeeze(call: Call) -> Bounded:
    axes = tuple(call.integers(1)) if call.optional(1) is not None else None
    return _moved(call.input(0), lambda v: np.squeeze(v, axes))


def _unsqueeze(call: Call) -> Bounded:
    return _moved(call.input(0), lambda v: np.expand_dims(v, tuple(call.integers(1))))


def _concat(call: Call) -> Bounded:
    parts = [p for p in call.inputs if p is not None]
    axis = call.attributes["axis"]
    slack = [np.broadcast_to(p.slack, p.value.shape) for p in parts]
    room = 0.0 if all(no_room(p.slack) for p in parts) else np.concatenate(slack, axis)
    return Bounded(np.concatenate([p.value for p in parts], axis), room, parts[0].dtype)


def _cast(call: Call) -> Bounded:
    x, dtype = call.input(0), np.dtype(helper.tensor_dtype_to_np_dtype(call.attributes["to"]))
    if dtype.kind != "f":
        raise BadInput(f"expected Cast to floats, found to {dtype}: the oracle does not run it")
    return call.backend.store(x.value, x.slack, dtype)


def _quantized(call: Call) -> tuple[np.ndarray, np.ndarray]:
    """Return the scale and zero-point of a DQ, shaped to broadcast over its input."""
    scale = call.input(1).value
    point = call.optional(2)
    zero = np.zeros_like(scale) if point is None else point.value
    if scale.ndim == 1 and scale.size > 1:
        shape = [1] * call.input(0).value.ndim
        shape[call.attributes.get("axis", 1)] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return scale, zero


def _dequantize(call: Call) -> Bounded:
    scale, zero = _quantized(call)
    return dequantize(call.input(0), scale, zero, call.input(1).dtype, call.backend)


def _relu(call: Call) -> Bounded:
    return _clamped(call.input(0), 0.0, np.inf)


def _clip(call: Call) -> Bounded:
    bounds = [b if b is None else float(b.value) for b in (call.optional(1), call.optional(2))]
    return _clamped(call.input(0), -np.inf if bounds[0] is None else bounds[0],
                    np.inf if bounds[1] is None else bounds[1])


def _clamped(x: Bounded, low: float, high: float) -> Bounded:
    """A maximum or a minimum rounds nothing, and brings no two numbers further apart."""
    value = np.clip(x.value, low, high)
    if no_room(x.slack):
        return Bounded(value, 0.0, x.dtype)
    up, down = np.clip(x.value + x.slack, low, high), np.clip(x.value - x.slack, low, high)
    return Bounded(value, np.maximum(up - value, value - down), x.dtype)


def _windows(call: Call, values: np.ndarray, fill: float) -> np.ndarray:
    """Return the windows of a pooling, (N, C, *places, *kernel); the border holds `fill`."""
    window, kernel = _window(call, call.attributes["kernel_shape"])
    if call.attributes.get("ceil_mode", 0) or any(d != 1 for d in window.dilations):
        raise BadInput(f"expected {call.kind} without ceil_mode and dilations, found them: the oracle does not run it")
    padded = np.pad(values, ((0, 0), (0, 0), *window.pads), constant_values=fill)
    axes = tuple(range(2, values.ndim))
    seen = np.lib.stride_tricks.sliding_window_view(padded, kernel, axes)
    index = (slice(None), slice(None), *(slice(None, None, stride) for stride in window.strides))
    return np.asarray(seen[index])


def _max_pool(call: Call) -> Bounded:
    x = call.input(0)
    axes = tuple(range(-len(call.attributes["kernel_shape"]), 0))
    value = _windows(call, x.value, -np.inf).max(axes)
    if no_room(x.slack):
        return Bounded(value, 0.0, x.dtype)
    up = _windows(call, x.value + x.slack, -np.inf).max(axes)
    down = _windows(call, x.value - x.slack, -np.inf).max(axes)
    return Bounded(value, np.maximum(up - value, value - down), x.dtype)


def _average_pool(call: Call) -> Bounded:
    x = call.input(0)
    kernel = call.attributes["kernel_shape"]
    axes = tuple(range(-len(kernel), 0))
    counts = np.full((1, 1, *x.value.shape[2:]), 1.0)
    count = _windows(call, counts, float(call.attributes.get("count_include_pad", 0))).sum(axes)
    return _mean(call, lambda v: _windows(call, v, 0.0).sum(axes) / count, int(np.prod(kernel)))


def _global_average_pool(call: Call) -> Bounded:
    axes = tuple(range(2, call.input(0).value.ndim))
    return _mean(call, lambda v: v.mean(axes, keepdims=True), int(np.prod(call.input(0).value.shape[2:])))


def _reduce_mean(call: Call) -> Bounded:
    axes, keep = _axes(call)
    count = int(np.prod([call.input(0).value.shape[a] for a in axes]))
    return _mean(call, lambda v: v.mean(axes, keepdims=keep), count)


def _reduce_max(call: Call) -> Bounded:
    x, (axes, keep) = call.input(0), _axes(call)
    value = x.value.max(axes, keepdims=keep)
    if no_room(x.slack):
        return Bounded(value, 0.0, x.dtype)
    up, down = (x.value + x.slack).max(axes, keepdims=keep), (x.value - x.slack).max(axes, keepdims=keep)
    return Bounded(value, np.maximum(up - value, value - down), x.dtype)


def _axes(call: Call) -> tuple[tuple[int, ...], bool]:
    """Return what a Reduce goes over and whether it keeps those axes: attribute up to opset 17, input since 18."""
    axes = call.integers(1) if call.optional(1) is not None else call.attributes.get("axes", [])
    if not axes and call.attributes.get("noop_with_empty_axes", 0):
        raise BadInput(f"expected axes for {call.kind}, found none: the oracle does not run it")
    found = axes or range(call.input(0).value.ndim)
    return tuple(found), bool(call.attributes.get("keepdims", 1))


def _mean(call: Call, mean: Callable[[np.ndarray], np.ndarray], count: int) -> Bounded:
    """A sum of `count` and one division (or a product with a rounded reciprocal: two roundings)."""
    x = call.input(0)
    slack = gamma(count + 1) * mean(np.abs(x.value) + x.slack)
    return call.backend.store(mean(x.value), slack if no_room(x.slack) else slack + mean(np.asarray(x.slack)), x.dtype)


def _arithmetic(call: Call) -> Bounded:
    x, y = call.input(0), call.input(1)
    certain = no_room(x.slack) and no_room(y.slack)
    if call.kind in ("Add", "Sub"):
        value = x.value + y.value if call.kind == "Add" else x.value - y.value
        return call.backend.store(value, 0.0 if certain else np.broadcast_to(x.slack + y.slack, value.shape), x.dtype)
    if call.kind == "Mul":
        slack = np.abs(x.value) * y.slack + np.abs(y.value) * x.slack + x.slack * y.slack
        return call.backend.store(x.value * y.value, 0.0 if certain else slack, x.dtype)
    least = np.abs(y.value) - y.slack
    if not (least > 0).all():
        raise BadInput("expected divisors that cannot be zero, found some that may: the oracle has no bound for those")
    value = x.value / y.value
    slack = 0.0 if certain else (x.slack + np.abs(value) * y.slack) / least
    if not call.backend.rounds_every_tensor:  # times a rounded reciprocal
        slack = slack + gamma(2) * (np.abs(value) + slack)
    return call.backend.store(value, slack, x.dtype)


def _exp(call: Call) -> Bounded:
    x = call.input(0)
    value = np.exp(x.value)
    most = value * np.exp(x.slack)
    own = (EXP_UNITS + EXP_UNITS_PER_X * (np.abs(x.value) + x.slack)) * U * most
    return call.backend.store(value, most - value + own, x.dtype)


def _sigmoid(call: Call) -> Bounded:
    x = call.input(0)
    value, up, down = (_logistic(v) for v in (x.value, x.value + x.slack, x.value - x.slack))
    return call.backend.store(value, np.maximum(up - value, value - down) + SIGMOID_UNITS * U, x.dtype)


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))


def _softmax(call: Call) -> Bounded:
    """exp(x − max) over its sum: each exponential has its error, and so has the sum."""
    x, axis = call.input(0), call.attributes.get("axis", -1)
    below = x.value - x.value.max(axis, keepdims=True)
    powers = np.exp(below)
    value = powers / powers.sum(axis, keepdims=True)
    units = EXP_UNITS + EXP_UNITS_PER_X * float(np.abs(below).max()) + x.value.shape[axis] + 2
    growth = np.exp(2 * np.max(x.slack)) * (1 + 2 * units * U) - 1
    return call.backend.store(value, value * growth, x.dtype)


def _batch_normalization(call: Call) -> Bounded:
    """(x − mean) · weight / √(variance + ε) + bias, all four constant: six roundings, or two where they are folded."""
    x = call.input(0)
    weight, bias, mean, variance = (call.input(i).value.reshape(1, -1, *[1] * (x.value.ndim - 2)) for i in range(1, 5))
    factor = weight / np.sqrt(variance + call.attributes.get("epsilon", 1e-5))
    magnitude = np.abs(factor) * (np.abs(x.value) + x.slack + np.abs(mean)) + np.abs(bias)
    slack = np.abs(factor) * x.slack + gamma(6) * magnitude
    return call.backend.store((x.value - mean) * factor + bias, slack, x.dtype)


def _instance_normalization(call: Call) -> Bounded:
    """(x − mean) · weight / √(variance + ε) + bias, mean and variance over the places of each channel.

    The variance may be taken as the mean of squares less the squared mean, so that its error is relative to x².
    """
    x, epsilon = call.input(0), call.attributes.get("epsilon", 1e-5)
    axes = tuple(range(2, x.value.ndim))
    weight, bias = (call.input(i).value.reshape(1, -1, *[1] * len(axes)) for i in (1, 2))

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(values.mean(axes, keepdims=True))

    terms = gamma(int(np.prod(x.value.shape[2:])) + 3)
    slack = np.broadcast_to(x.slack, x.value.shape)
    most = np.abs(x.value) + slack
    apart = x.value - mean(x.value)
    apart_slack = slack + mean(slack) + terms * (most + mean(most))
    variance = mean(apart**2)
    variance_slack = mean(2 * np.abs(apart) * apart_slack + apart_slack**2) + 2 * terms * mean(most**2)
    inverse = 1 / np.sqrt(variance + epsilon)
    inverse_most = 1 / np.sqrt(np.maximum(variance - variance_slack, 0) + epsilon)
    reached = np.abs(weight) * (np.abs(apart) + apart_slack) * inverse_most
    room = reached - np.abs(weight * apart) * inverse + gamma(6) * (reached + np.abs(bias))
    return call.backend.store(apart * inverse * weight + bias, room, x.dtype)


def _conv(call: Call) -> Bounded:
    x, w = call.input(0), call.input(1)
    window, _ = _window(call, w.value.shape[2:])
    return multiply(x, w, call.optional(2), window, call.backend, call.onto_q)


def _gemm(call: Call) -> Bounded:
    if call.attributes.get("alpha", 1.0) != 1 or call.attributes.get("beta", 1.0) != 1:
        raise BadInput("expected Gemm with alpha and beta of 1, found others: the oracle does not run it")
    x = call.input(0) if not call.attributes.get("transA", 0) else _transposed(call.input(0))
    w = call.input(1) if call.attributes.get("transB", 0) else _transposed(call.input(1))
    return multiply(x, w, call.optional(2), Window(), call.backend, call.onto_q)


def _matmul(call: Call) -> Bounded:
    x, w = call.input(0), call.input(1)
    if x.value.ndim < 2 or w.value.ndim != 2:
        raise BadInput(f"expected MatMul with one matrix for all rows, found {x.value.shape} with {w.value.shape}: the "
                       "oracle does not run it")
    found = multiply(_rows(x), _transposed(w), None, Window(), call.backend, call.onto_q)
    return _moved(found, lambda v: v.reshape(*x.value.shape[:-1], -1))


def _rows(x: Bounded) -> Bounded:
    """Put all axes but the last into one; integers stay integers where they have one scale."""
    def move(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, values.shape[-1])

    grid = x.grid
    if grid is not None:
        reach = grid.reach if no_room(grid.reach) else move(np.asarray(grid.reach))
        grid = Grid(move(grid.integers), reach, grid.scale.reshape(())) if grid.scale.size == 1 else None
    return replace(_moved(x, move), grid=grid)


def _transposed(x: Bounded) -> Bounded:
    grid = x.grid
    if grid is not None:
        reach = grid.reach if no_room(grid.reach) else np.asarray(grid.reach).T
        grid = Grid(grid.integers.T, reach, grid.scale.T)
    return replace(_moved(x, np.transpose), grid=grid)


def _window(call: Call, kernel: Sequence[int]) -> tuple[Window, tuple[int, ...]]:
    """Return how a kernel moves, from the attributes of a Conv or a pooling."""
    if call.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise BadInput(f"expected explicit pads for {call.kind}, found auto_pad: the oracle does not run it")
    axes = len(kernel)
    pads = call.attributes.get("pads", [0] * (2 * axes))
    return Window(tuple(call.attributes.get("strides", [1] * axes)), tuple(zip(pads[:axes], pads[axes:])),
                  tuple(call.attributes.get("dilations", [1] * axes)), call.attributes.get("group", 1)), tuple(kernel)


def _same(call: Call) -> Bounded:
    return call.input(0)


OPERATORS: dict[str, Callable[[Call], Bounded]] = {
    "DequantizeLinear": _dequantize, "Cast": _cast, "Conv": _conv, "Gemm": _gemm, "MatMul": _matmul,
    "Relu": _relu, "Clip": _clip, "MaxPool": _max_pool, "ReduceMax": _reduce_max,
    "AveragePool": _average_pool, "GlobalAveragePool": _global_average_pool, "ReduceMean": _reduce_mean,
    "Add": _arithmetic, "Sub": _arithmetic, "Mul": _arithmetic, "Div": _arithmetic,
    "Exp": _exp, "Sigmoid": _sigmoid, "Softmax": _softmax,
    "BatchNormalization": _batch_normalization, "InstanceNormalization": _instance_normalization,
    "Reshape": _reshape, "Flatten": _flatten, "Transpose": _transpose, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze,
    "Concat": _concat, "Identity": _same,
}
# What rounds nothing: a fused backend takes these along into the layer before them
EXACT = ("Relu", "Clip", "MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity")
