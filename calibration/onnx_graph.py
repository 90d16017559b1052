"""An ONNX graph one can ask: who makes this tensor, who reads it, is it a weight.

Knows nothing of quantization or precision; a thin index over the protobuf, made anew after the graph is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from runtime.errors import BadModel

OPSET = 20  # the exporter's, and one that ONNX Runtime, TensorRT 10.3+ and TensorRT-RTX all read


class Graph:
    """Index of a model's main graph: `producers`, `readers` and `weights` by tensor name."""

    def __init__(self, model: onnx.ModelProto):
        self.model = model
        self.nodes = list(model.graph.node)
        self.producers = {name: node for node in self.nodes for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.weights = {w.name: w for w in model.graph.initializer}
        self.outputs = {o.name for o in model.graph.output}

    def weight(self, name: str) -> np.ndarray:
        """Return an initializer's values."""
        return numpy_helper.to_array(self.weights[name])

    def reads(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a tensor."""
        return self.readers.get(name, [])


def parse_model(content: bytes, name: str) -> onnx.ModelProto:
    """Parse ONNX bytes; every node has a name of its own then. Raises BadModel, naming the file."""
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(content)  # as bytes: of the model it would make one more copy
    except Exception as error:  # protobuf's DecodeError, onnx's ValidationError and others share no base class
        raise BadModel(f"expected a valid ONNX graph in {name}, found: {str(error).splitlines()[0]}") from error
    _name_nodes(model.graph.node)
    return model


class Names:
    """Names that are taken, of tensors or of nodes, and new ones that are not."""

    def __init__(self, taken: Iterable[str]):
        self._taken = set(taken)

    def new(self, wanted: str) -> str:
        """Return the name wanted, with as many "_" behind it as make it nobody else's; it is taken then."""
        while wanted in self._taken:
            wanted += "_"
        self._taken.add(wanted)
        return wanted


def tensor_names(nodes: Iterable[onnx.NodeProto], weights: Iterable[onnx.TensorProto]) -> Names:
    """Return the names of all tensors that nodes read or make, and of weights."""
    return Names([name for node in nodes for name in (*node.input, *node.output)] + [w.name for w in weights])


def _name_nodes(nodes: Iterable[onnx.NodeProto]) -> None:
    """Give every node a name of its own: plans and reports speak of nodes by name; ONNX lets one be empty or shared."""
    nodes = list(nodes)
    names, seen = Names(node.name for node in nodes), {""}
    for index, node in enumerate(nodes):
        if node.name in seen:
            node.name = names.new(f"{node.name or node.op_type}_{index}")
        seen.add(node.name)


def rebuild(model: onnx.ModelProto, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto]) -> onnx.ModelProto:
    """Return a model with the same inputs and outputs and other nodes; unused weights dropped, shapes inferred."""
    used = {name for node in nodes for name in node.input}
    kept = [w for w in weights if w.name in used]
    graph = onnx.helper.make_graph(nodes, model.graph.name, model.graph.input, model.graph.output, kept)
    rebuilt = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version,
                                     producer_name="mien")
    rebuilt = onnx.shape_inference.infer_shapes(rebuilt, strict_mode=True)
    onnx.checker.check_model(rebuilt, full_check=True)
    return rebuilt


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """Return an integer attribute of a node."""
    for item in node.attribute:
        if item.name == name:
            return int(item.i)
    return default


def with_shape(model: onnx.ModelProto, shape: Sequence[int]) -> onnx.ModelProto:
    """Return a copy whose only input has this shape, every free size fixed."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    for tensor, sizes in [(fixed.graph.input[0], shape), *((o, ()) for o in fixed.graph.output)]:
        dims = tensor.type.tensor_type.shape.dim
        for number, dim in enumerate(dims):
            dim.Clear()
            if sizes:
                dim.dim_value = sizes[number]
    return onnx.shape_inference.infer_shapes(fixed, data_prop=True)


def output_axis(node: onnx.NodeProto) -> int:
    """Return the axis of a weight that counts its output channels, of a Conv, a Gemm or a MatMul with a matrix."""
    return 1 if node.op_type == "MatMul" or (node.op_type == "Gemm" and not attribute(node, "transB", 0)) else 0


def shapes_of(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the sizes of every tensor that a node makes and shape inference knows; 0 stands for a free one."""
    inferred = onnx.shape_inference.infer_shapes(model)
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
            for v in [*inferred.graph.value_info, *inferred.graph.output]}


def multiply_adds(model: onnx.ModelProto) -> int:
    """Count the multiply-adds of every layer with constant weights for one image."""
    return sum(node_multiply_adds(model).values())


def node_multiply_adds(model: onnx.ModelProto) -> dict[str, int]:
    """Count the multiply-adds of each Conv, Gemm and MatMul with constant weights for one image, by inferred shapes."""
    shapes = shapes_of(model)
    weights = {w.name: list(w.dims) for w in model.graph.initializer}
    counts = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in weights and node.output[0] in shapes:
            sizes = shapes[node.output[0]]
            places = sizes[1:-1] if node.op_type == "MatMul" else sizes[2:]  # batch and channels left out
            counts[node.name] = int(np.prod(weights[node.input[1]])) * max(1, int(np.prod(places)))
    return counts
