"""A float32 graph, plain or with Q/DQ → the same graph in half precision, float32 logits out.

What prepares the pixels, up to the first Conv, Gemm or Q, stays float32: 0–255 normalized in half would lose the last
bit of every pixel. Knows nothing of ranges; a weight that half precision cannot hold is refused.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calibration.onnx_graph import Graph, rebuild
from runtime.errors import BadModel

LARGEST_HALF = float(np.finfo(np.float16).max)
# Inputs that the ONNX standard wants as float32 whatever the data's type: Resize's roi and scales
_ALWAYS_FLOAT = {"Resize": (1, 2)}


def half_from_onnx(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph in half precision; same input, same float32 outputs. Raises BadModel on overflow."""
    graph = Graph(model)
    floats = _pixel_nodes(graph)
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, onnx.TensorProto] = {}
    casts: dict[str, str] = {}
    types = {v.name: v.type.tensor_type.elem_type for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    float_tensors = {o for node in floats.values() for o in node.output if types.get(o) == TensorProto.FLOAT}
    output_types = {o.name: o.type.tensor_type.elem_type for o in model.graph.output}

    def half_input(name: str) -> str:
        if name in graph.weights:
            tensor = _half_weight(graph.weights[name])
            weights[tensor.name] = tensor
            return tensor.name
        if name in float_tensors:
            if name not in casts:
                casts[name] = f"{name}_half"
                nodes.append(helper.make_node("Cast", [name], [casts[name]], name=f"{name}/half",
                                              to=TensorProto.FLOAT16))
            return casts[name]
        return f"{name}_half" if name in output_types else name

    for node in graph.nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        if node.name in floats:
            weights |= {name: graph.weights[name] for name in node.input if name in graph.weights}
        else:
            always_float = _ALWAYS_FLOAT.get(node.op_type, ())
            for index, name in enumerate(node.input):
                if index in always_float and name in graph.weights:
                    weights[name] = graph.weights[name]
                elif name:
                    copy.input[index] = half_input(name)
            for index, name in enumerate(node.output):
                copy.output[index] = f"{name}_half" if name in output_types else name
            _retype(copy)
        nodes.append(copy)
    for name, kind in output_types.items():
        nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], name=f"{name}/float", to=kind))
    return rebuild(model, nodes, list(weights.values()))


def _pixel_nodes(graph: Graph) -> dict[str, onnx.NodeProto]:
    """Return the nodes between the input and the first Conv, Gemm or DQ, by name."""
    floats: dict[str, onnx.NodeProto] = {}
    ready = {i.name for i in graph.model.graph.input} | set(graph.weights) | {""}
    for node in graph.nodes:
        reads_input = any(name not in graph.weights and name for name in node.input)
        if reads_input and node.op_type not in ("Conv", "Gemm", "MatMul", "DequantizeLinear") and (
                all(name in ready for name in node.input)):
            floats[node.name] = node
            ready |= set(node.output)
    return floats


def _half_weight(weight: onnx.TensorProto) -> onnx.TensorProto:
    """Convert a float32 initializer to half under a new name; other types stay as they are."""
    if weight.data_type != TensorProto.FLOAT:
        return weight
    values = numpy_helper.to_array(weight)
    if values.size and float(np.abs(values).max()) > LARGEST_HALF:
        raise BadModel(f"expected weights that half precision holds (±{LARGEST_HALF:.0f}), found "
                       f"{float(np.abs(values).max()):g} in {weight.name}; keep this model in fp32")
    return numpy_helper.from_array(values.astype(np.float16), f"{weight.name}_half")


def _retype(node: onnx.NodeProto) -> None:
    """Turn float32 into half where a node names a type itself."""
    for item in node.attribute:
        if node.op_type == "Cast" and item.name == "to" and item.i == TensorProto.FLOAT:
            item.i = TensorProto.FLOAT16
        elif node.op_type == "Constant" and item.name == "value" and item.t.data_type == TensorProto.FLOAT:
            item.t.CopyFrom(_half_weight(item.t))
