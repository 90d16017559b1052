"""A float32 graph and its scales → explicit Q/DQ, in two forms that hold the same integers.

The **CPU form** puts every ReLU between two Q/DQ pairs of equal scale, so that ONNX Runtime runs convolution, ReLU and
max pooling on integers. The **GPU form** leaves ReLU and pooling between the convolution and one Q, which is what
TensorRT fuses. Both: per-channel int8 weights with DQ only, float bias, zero-point 0; attention gates stay float, and
of a convolution + residual addition the convolution's own output does. Products of two activations are not quantized.
Rules: https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from calibration.onnx_graph import Graph, Names, output_axis, rebuild, shapes_of, tensor_names
from calibration.pixel_grid import grid_in_use, onto_grid
from calibration.ranges import quantize_weights
from runtime.errors import BadInput

Form = Literal["cpu", "gpu"]
_COMPUTE = ("Conv", "Gemm", "MatMul")
# Nodes that keep integers as they are: max pooling commutes with rounding, the others only move values
_TRANSPARENT = ("MaxPool", "Reshape", "Flatten", "Identity", "Squeeze", "Unsqueeze")
_POOL_MEAN = ("GlobalAveragePool", "AveragePool", "ReduceMean")


@dataclass(frozen=True)
class Plan:
    """What is quantized: compute nodes by name, and the tensors that need a scale."""

    nodes: tuple[str, ...]
    tensors: tuple[str, ...]
    kept_float: tuple[str, ...] = field(default=())


def plan(model: onnx.ModelProto, keep_float: Collection[str] = ()) -> Plan:
    """Choose the Conv, Gemm and MatMul nodes to quantize and the tensors to observe; those in `keep_float` stay float.

    A tensor's range is that of the value *before* transparent nodes, so that equal integers get equal scales. Raises
    BadInput for a graph that is quantized already or has nothing to quantize.
    """
    graph = Graph(model)
    if any(n.op_type in ("QuantizeLinear", "DequantizeLinear") for n in graph.nodes):
        raise BadInput("expected a float32 graph, found one that is quantized already; give fp32.onnx")
    gates = _gate_tensors(graph)
    layers = [n for n in graph.nodes if _is_layer(graph, n)]
    kept = [n.name for n in layers if n.output[0] in gates or n.name in keep_float]
    nodes = [n.name for n in layers if n.name not in kept]
    if not nodes and not keep_float:
        raise BadInput("expected Conv, Gemm or MatMul nodes with constant weights, found none to quantize")
    skips = _skips(graph, set(nodes))
    rounded, tensors = _rounded_inputs(nodes, skips), []
    for node in graph.nodes:
        if node.name in rounded:
            tensors.append(source_of(graph, node.input[rounded[node.name]]))
        if node.name in nodes:
            tensors.append(_mean_behind(graph, node.output[0], skips))
    return Plan(tuple(nodes), tuple(dict.fromkeys(t for t in tensors if t)), tuple(kept))


def _is_layer(graph: Graph, node: onnx.NodeProto) -> bool:
    """Does this node multiply with constant weights? Of a MatMul, with one matrix for all rows, as Linear has."""
    if node.op_type not in _COMPUTE or node.input[1] not in graph.weights:
        return False
    return node.op_type != "MatMul" or len(graph.weights[node.input[1]].dims) == 2


def _rounded_inputs(nodes: Collection[str], skips: dict[str, int]) -> dict[str, int]:
    """Return which input of a node goes through a Q, by the node's name."""
    return dict.fromkeys(nodes, 0) | skips


def _skips(graph: Graph, quantized: Collection[str]) -> dict[str, int]:
    """Return which input of an Add is its skip branch, by the Add's name, where the other is a quantized convolution's.

    TensorRT adds inside that convolution, which then reads the skip's integers and may write integers. Where both are
    convolutions the second is the skip, also if the first stays float: what has a scale must not depend on that.
    """
    found: dict[str, int] = {}
    shapes: dict[str, list[int]] = {}
    for node in graph.nodes:
        ends = [place for place, tensor in enumerate(node.input) if _ends_convolution(graph, tensor)]
        if node.op_type != "Add" or not ends or any(tensor in graph.weights for tensor in node.input):
            continue
        shapes = shapes or shapes_of(graph.model)
        own, skip = node.input[ends[0]], node.input[1 - ends[0]]
        if graph.producers[own].name in quantized and shapes.get(own, [])[1:] == shapes.get(skip, [])[1:]:
            found[node.name] = 1 - ends[0]
    return found


def _first_of_skips(graph: Graph, skips: dict[str, int]) -> set[str]:
    """Return what first reads the tensor that a residual block begins with, on its skip branch: projection or Add."""
    adds = [node for node in graph.nodes if node.name in skips]
    before = (graph.producers.get(add.input[skips[add.name]]) for add in adds)
    return {p.name if p is not None and p.op_type == "Conv" else add.name for add, p in zip(adds, before)}


def _ends_convolution(graph: Graph, tensor: str) -> bool:
    """Is this tensor a convolution's own output, which nobody else reads?"""
    producer = graph.producers.get(tensor)
    return (producer is not None and producer.op_type == "Conv" and len(graph.reads(tensor)) == 1
            and tensor not in graph.outputs)


def source_of(graph: Graph, tensor: str) -> str:
    """Return the tensor that a chain of transparent nodes starts from."""
    while tensor in graph.producers and graph.producers[tensor].op_type in _TRANSPARENT:
        tensor = graph.producers[tensor].input[0]
    return tensor


def _gate_tensors(graph: Graph) -> set[str]:
    """Return the tensors that do nothing but weigh others: every path from them ends in a Sigmoid whose result is
    multiplied with something (squeeze-and-excitation, ECA, CBAM, scSE, and both layers of their little networks)."""
    multiplied: set[str] = set()
    weighing: set[str] = set()
    for node in reversed(graph.nodes):  # readers come later in the graph, so they are known by now
        for tensor in node.output:
            readers = graph.reads(tensor)
            if any(r.op_type == "Mul" or (r.op_type not in _COMPUTE and set(r.output) & multiplied) for r in readers):
                multiplied.add(tensor)
            if readers and tensor not in graph.outputs and all(_weighs(r, weighing, multiplied) for r in readers):
                weighing.add(tensor)
    return weighing


def _weighs(reader: onnx.NodeProto, weighing: set[str], multiplied: set[str]) -> bool:
    if reader.op_type in ("Sigmoid", "HardSigmoid", "Softmax"):
        return reader.output[0] in multiplied
    return reader.op_type != "Mul" and set(reader.output) <= weighing


def _mean_behind(graph: Graph, tensor: str, skips: Collection[str]) -> str:
    """Return the input of a mean over height and width that alone reads conv (→ residual addition) → ReLU, or ''.

    Its Q lets the last convolution write integers like the others instead of floats.
    """
    while len(graph.reads(tensor)) == 1 and tensor not in graph.outputs:
        reader = graph.reads(tensor)[0]
        if reader.op_type in _POOL_MEAN:
            return tensor
        if reader.op_type != "Relu" and reader.name not in skips:
            return ""
        tensor = reader.output[0]
    return ""


class _Writer:
    """Collects the nodes and weights of the quantized graph."""

    def __init__(self, graph: Graph, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto],
                 scales: dict[str, np.float32]):
        """Begin with what is there: the graph's weights, whose names and whose nodes' nobody else gets."""
        self.graph, self.scales = graph, scales
        self.nodes: list[onnx.NodeProto] = []
        self.weights = list(weights)
        self._tensors, self._names = tensor_names(nodes, weights), Names(node.name for node in nodes)
        self._pairs: dict[tuple[str, str, bool], str] = {}
        self._scales: dict[str, str] = {}  # initializers, by the tensor they are of
        self._weights: dict[tuple[str, int], str] = {}
        self._zero_point = self._store("zero_point", np.int8(0).reshape(()))

    def _store(self, name: str, values: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(values, self._tensors.new(name)))
        return str(self.weights[-1].name)

    def pair(self, tensor: str, source: str, skip: bool = False) -> str:
        """Put Q and DQ behind a tensor with its source's scale (once); return the DQ's output.

        skip: another pair of equal integers, for a skip branch alone: ONNX Runtime 1.31 runs a layer on integers only
        where nobody else reads its input's Q. `axis` means nothing with one scale, and keeps it from merging the two.
        """
        if (tensor, source, skip) not in self._pairs:
            if source not in self._scales:
                self._scales[source] = self._store(f"{source}_scale", self.scales[source].reshape(()))
            behind, axis = (f"{tensor}_skip", 0) if skip else (tensor, None)
            integers, floats = self._tensors.new(f"{behind}_q"), self._tensors.new(f"{behind}_dq")
            how = [self._scales[source], self._zero_point]
            self.nodes.append(helper.make_node("QuantizeLinear", [tensor, *how], [integers],
                                               name=self._names.new(f"{behind}/Q"), axis=axis))
            self.nodes.append(helper.make_node("DequantizeLinear", [integers, *how], [floats],
                                               name=self._names.new(f"{behind}/DQ"), axis=axis))
            self._pairs[tensor, source, skip] = floats
        return self._pairs[tensor, source, skip]

    def weight(self, name: str, axis: int) -> str:
        """Store a weight as int8 with one scale a channel (once); return its DQ's output.

        The float one stays for a layer that is not quantized and reads it too; `rebuild` drops it where none does.
        """
        if (name, axis) not in self._weights:
            integers, scales = quantize_weights(self.graph.weight(name), axis)
            stored = [self._store(f"{name}_q", integers), self._store(f"{name}_s", scales),
                      self._store(f"{name}_z", np.zeros(len(scales), dtype=np.int8))]
            floats = self._tensors.new(f"{name}_dq")
            self.nodes.append(helper.make_node("DequantizeLinear", stored, [floats],
                                               name=self._names.new(f"{name}/DQ"), axis=axis))
            self._weights[name, axis] = floats
        return self._weights[name, axis]


def quantize(model: onnx.ModelProto, chosen: Plan, scales: dict[str, np.float32], form: Form) -> onnx.ModelProto:
    """Return the graph with explicit Q/DQ, everything else still float32 (`half_from_onnx` makes the GPU form half).

    scales: one a tensor of `chosen.tensors`, float32 that half precision holds exactly. Where the pixels' is one step a
    grey level, the first layer reads them exactly (`pixel_grid`).
    """
    graph = Graph(model)
    quantized, needed = set(chosen.nodes), set(chosen.tensors)
    skips = _skips(graph, quantized)
    rounded, aside = _rounded_inputs(chosen.nodes, skips), _first_of_skips(graph, skips)
    nodes, weights = graph.nodes, list(graph.weights.values())
    grid = grid_in_use(graph, scales, chosen.nodes)
    if grid:
        nodes, weights = onto_grid(graph, grid)
    writer = _Writer(graph, nodes, weights, scales)
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        if node.name in rounded:
            place = rounded[node.name]
            tensor = node.input[place]
            shared = form == "cpu" and node.name in aside and len(graph.reads(tensor)) > 1
            copy.input[place] = writer.pair(tensor, source_of(graph, tensor), skip=shared)
            if node.name in quantized:
                copy.input[1] = writer.weight(node.input[1], output_axis(node))
        elif node.op_type in _POOL_MEAN and node.input[0] in needed:
            copy.input[0] = writer.pair(node.input[0], node.input[0])
        elif form == "cpu" and node.op_type in ("Relu", "MaxPool") and (
                _feeds_only_integers(graph, node.output[0], needed, rounded)):
            if node.op_type == "MaxPool":
                copy.input[0] = writer.pair(node.input[0], source_of(graph, node.input[0]))
            else:
                copy.input[0] = _before_relu(writer, graph, node, quantized)
        writer.nodes.append(copy)
    return rebuild(model, writer.nodes, writer.weights)


def _before_relu(writer: _Writer, graph: Graph, relu: onnx.NodeProto, quantized: set[str]) -> str:
    """Return what a ReLU reads in the CPU form: a pair of its output's scale where a quantized convolution feeds it."""
    producer = graph.producers.get(relu.input[0])
    if producer is None or producer.name not in quantized or len(graph.reads(relu.input[0])) != 1:
        return str(relu.input[0])
    return writer.pair(relu.input[0], relu.output[0])


def _feeds_only_integers(graph: Graph, tensor: str, needed: set[str], rounded: dict[str, int]) -> bool:
    """Is every reader of this tensor, through transparent nodes, behind a Q? Only then may it be rounded early."""
    if tensor in graph.outputs or source_of(graph, tensor) not in needed:
        return False
    for reader in graph.reads(tensor):
        if reader.op_type in _TRANSPARENT:
            if not _feeds_only_integers(graph, reader.output[0], needed, rounded):
                return False
        elif reader.name in rounded:
            if any(name == tensor for place, name in enumerate(reader.input) if place != rounded[reader.name]):
                return False
        elif not (reader.op_type in _POOL_MEAN and tensor in needed):
            return False
    return True
