"""Cross-layer equalization: the same float function with channels of more equal size, which INT8 then keeps better.

A tensor has one scale for all its channels: one a hundred times smaller than the largest is left with a level or two.
Between two layers with nothing but ReLU, pooling and flattening in between, f(x / s) = f(x) / s for every s > 0, so a
factor a channel may move from one layer's weights to the next one's (Nagel et al. 2019, https://arxiv.org/abs/1906.04721,
section 4.1). Knows no faces, and does not look through additions, attention or branches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from calibration.onnx_graph import Graph, attribute, output_axis, rebuild
from calibration.quantize import plan
from runtime.errors import BadInput

ALPHA = 0.5
# Below 1/254 of its tensor's range a channel rounds to 0 everywhere; far below, the faces said too little about it
LEAST_SHARE = 1 / 1024
_HOMOGENEOUS = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity")
_FLATTENING = ("Flatten", "Reshape")


@dataclass(frozen=True)
class Pair:
    """Two layers that may share factors, by node name, and the tensors between them that have a scale.

    free: the second is depth-wise, so that each of its weights' scales serves one input channel only.
    """

    first: str
    second: str
    tensors: tuple[str, ...]
    free: bool


def find_pairs(model: onnx.ModelProto) -> tuple[Pair, ...]:
    """Return every two layers with constant weights and a single reader all along the way, in the graph's order."""
    graph, scaled = Graph(model), set(plan(model).tensors)
    pairs = (_pair_from(graph, node, scaled) for node in graph.nodes if _is_layer(graph, node))
    return tuple(pair for pair in pairs if pair is not None)


def equalize(model: onnx.ModelProto, ranges: Mapping[str, np.ndarray], alpha: float = ALPHA) -> onnx.ModelProto:
    """Return the float32 graph, its batch norms folded before, with factors moved between the layers of every pair.

    ranges: `channel_ranges` of every tensor that `find_pairs` names. alpha: see `channel_factors`. Pairs do not
    influence each other: a factor depends on the activations alone, and those of other pairs stay as they are. Raises
    BadInput where a range is missing or of another shape, or for an alpha outside 0–1.
    """
    if not 0 <= alpha <= 1:
        raise BadInput(f"expected alpha of 0–1, found {alpha}; {ALPHA} is usual")
    nodes = {n.name: n for n in model.graph.node}
    weights = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    moved: dict[str, np.ndarray] = {}
    for pair in find_pairs(model):
        first, second = nodes[pair.first], nodes[pair.second]
        channels = weights[first.input[1]].shape[output_axis(first)]
        factors = channel_factors(_shares(pair, ranges, channels), 1.0 if pair.free else alpha)
        for number, name in enumerate(first.input[1:]):
            axis = output_axis(first) if number == 0 else -1  # a Gemm's bias may have a row's axis in front
            moved[name] = _along(moved.get(name, weights[name]), axis, 1 / factors)
        name = second.input[1]
        moved[name] = _scaled_inputs(second, moved.get(name, weights[name]), factors)
    kept = [numpy_helper.from_array(moved[w.name], w.name) if w.name in moved else w for w in model.graph.initializer]
    return rebuild(model, list(model.graph.node), kept)


def channel_factors(shares: np.ndarray, alpha: float) -> np.ndarray:
    """Return s of 0–1 for each channel, given its share r (0–1) of the tensor's range: s = r^alpha.

    The channel is divided by s, the weights that read it are multiplied. The first layer has a scale an output channel,
    so for it any s is free. So it is for a depth-wise second layer, whose channels all get the whole range: alpha 1. In
    a dense one, an output's scale serves all inputs: its noise is, up to constants and for weights of like size,
    Σ s² (rounded activations) + Σ r²/s² (rounded weights), least at s = √r: alpha 0.5, as in SmoothQuant (Xiao et al.
    2023, https://arxiv.org/abs/2211.10438, equation 4), whose part for the weights' range per-channel scales make moot.
    """
    return np.asarray(shares**alpha)


def _is_layer(graph: Graph, node: onnx.NodeProto) -> bool:
    """Has this node constant weights, which nobody else reads?"""
    return node.op_type in ("Conv", "Gemm") and all(
        name in graph.weights and len(graph.reads(name)) == 1 for name in node.input[1:])


def _pair_from(graph: Graph, first: onnx.NodeProto, scaled: set[str]) -> Pair | None:
    weight = graph.weight(first.input[1])
    channels, places = weight.shape[output_axis(first)], weight.ndim - 2
    tensor, tensors, flat = first.output[0], [], places == 0
    while tensor not in graph.outputs and len(graph.reads(tensor)) == 1:
        if tensor in scaled:
            tensors.append(tensor)
        reader = graph.reads(tensor)[0]
        if _is_layer(graph, reader):
            read, groups = graph.weight(reader.input[1]), attribute(reader, "group", 1)
            inputs = read.shape[1 - output_axis(reader)] * groups
            fits = inputs % channels == 0 if reader.op_type == "Gemm" else inputs == channels and not flat
            return Pair(first.name, reader.name, tuple(tensors), read.shape[1] == 1) if fits and tensors else None
        flat = flat or reader.op_type in _FLATTENING
        if reader.op_type not in (*_HOMOGENEOUS, *_FLATTENING) and not _is_mean_over_places(graph, reader, places):
            return None
        tensor = reader.output[0]
    return None


def _is_mean_over_places(graph: Graph, node: onnx.NodeProto, places: int) -> bool:
    if node.op_type != "ReduceMean" or len(node.input) < 2 or node.input[1] not in graph.weights or not places:
        return False
    axes = graph.weight(node.input[1]).reshape(-1).tolist()
    return sorted(axis % (places + 2) for axis in axes) == list(range(2, places + 2))


def _shares(pair: Pair, ranges: Mapping[str, np.ndarray], channels: int) -> np.ndarray:
    """Return each channel's share of its tensor's range, (channels,), the largest where a pair has several tensors."""
    shares = np.zeros(channels)
    for tensor in pair.tensors:
        if tensor not in ranges or ranges[tensor].shape != (channels,):
            found = ranges[tensor].shape if tensor in ranges else "none"
            raise BadInput(f"expected ranges of the {channels} channels of {tensor}, found {found}; take them with "
                           "this graph")
        shares = np.maximum(shares, ranges[tensor] / max(float(ranges[tensor].max()), 1e-30))
    return np.where(shares == 0, 1.0, np.maximum(shares, LEAST_SHARE))  # what never fired stays as it is


def _along(values: np.ndarray, axis: int, factors: np.ndarray) -> np.ndarray:
    shape = [1] * values.ndim
    shape[axis] = -1
    return np.asarray(values * factors.reshape(shape), dtype=np.float32)


def _scaled_inputs(second: onnx.NodeProto, weight: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Multiply the weights that read each channel; a flattened one is read at every place, places running fastest."""
    axis, groups = 1 - output_axis(second), attribute(second, "group", 1)
    each = np.repeat(factors, weight.shape[axis] * groups // len(factors))
    if groups == 1:
        return _along(weight, axis, each)
    rows = np.repeat(each.reshape(groups, -1), len(weight) // groups, axis=0)  # (outputs, inputs of their group)
    return np.asarray(weight * rows.reshape(*rows.shape, *[1] * (weight.ndim - 2)), dtype=np.float32)
