"""A half-precision graph → a float32 graph that rounds every tensor to half: FP16's arithmetic, on a CPU.

ONNX Runtime's CPU has no half kernels for most nodes: it computes them in float32 and drops the casts between two of
them, so that 100 · 1000 · 0.001 is 100 there and infinity on a GPU (1.31, a test). A pair of casts of our own stays.
Does not know in what order or width a GPU's kernel sums: here each node sums in float32 and rounds once.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calibration.onnx_graph import Graph, rebuild

LARGEST = "largest/"  # prefix of the outputs that hold a tensor's largest magnitude
# Their results are some of their inputs: what was rounded stays rounded, and cannot grow
_PICKS = frozenset({"Relu", "MaxPool", "Reshape", "Flatten", "Identity", "Squeeze", "Unsqueeze", "Transpose", "Concat",
                    "ReduceMax", "GlobalMaxPool", "Slice", "Gather"})


def half_arithmetic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a float32 graph with the same input and outputs, in which every half tensor holds a half's value.

    What half precision cannot hold becomes infinity. Further outputs, `LARGEST` and a tensor's name, are scalars: its
    largest magnitude over the batch.
    """
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    graph = Graph(inferred)
    halves = {v.name for v in inferred.graph.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT16}
    nodes: list[onnx.NodeProto] = []
    watched: list[str] = []
    for node in graph.nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        _retype(copy)
        nodes.append(copy)
        if node.op_type in _PICKS:
            continue
        for index, name in enumerate(node.output):
            if name in halves:
                copy.output[index] = f"{name}/exact"
                nodes += [
                    helper.make_node("Cast", [f"{name}/exact"], [f"{name}/half"], to=TensorProto.FLOAT16),
                    helper.make_node("Cast", [f"{name}/half"], [name], to=TensorProto.FLOAT),
                ]
                if any(i not in graph.weights for i in node.input):  # not a weight on its way from INT8
                    nodes += [helper.make_node("Abs", [name], [f"{name}/abs"]),
                              helper.make_node("ReduceMax", [f"{name}/abs"], [LARGEST + name], keepdims=0)]
                    watched.append(LARGEST + name)
    rounded = rebuild(model, nodes, [_as_float(w) for w in graph.weights.values()])
    rounded.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in watched)
    return rounded


def _as_float(weight: onnx.TensorProto) -> onnx.TensorProto:
    """Return a half initializer as float32 of the same values; others as they are."""
    if weight.data_type != TensorProto.FLOAT16:
        return weight
    return numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float32), weight.name)


def _retype(node: onnx.NodeProto) -> None:
    """Turn half into float32 where a node names a type itself."""
    for item in node.attribute:
        if node.op_type == "Cast" and item.name == "to" and item.i == TensorProto.FLOAT16:
            item.i = TensorProto.FLOAT
        elif node.op_type == "Constant" and item.name == "value":
            item.t.CopyFrom(_as_float(item.t))
