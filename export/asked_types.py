"""An ONNX graph → the types that it asks of every node, for `runtime/engines/layer_verdicts.py`.

Only the main graph; what stands in branches and functions is not looked at. Knows nothing of engines.
"""

from __future__ import annotations

import onnx
from onnx import NodeProto, TensorProto

from calibration.onnx_graph import Graph
from runtime.engines.layer_verdicts import VALUES, AskedGraph, AskedTypes

# ONNX's types under the names that TensorRT's DataType has for them
_NAMES = {
    TensorProto.FLOAT: "float", TensorProto.FLOAT16: "half", TensorProto.BFLOAT16: "bf16", TensorProto.DOUBLE: "double",
    TensorProto.INT8: "int8", TensorProto.UINT8: "uint8", TensorProto.INT32: "int32", TensorProto.INT64: "int64",
    TensorProto.BOOL: "bool",
}
_PRODUCTS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
# What TensorRT moves Q and DQ past, because rounding before and after is the same: data movement, comparison, ReLU
# https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/quantized-types-explicit-quantization.html
_COMMUTES = frozenset(("MaxPool", "Relu", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Concat", "Slice",
                       "Split", "Identity"))


def asked_types(model: onnx.ModelProto) -> AskedGraph:
    """Return what a graph asks of its nodes, by name; the model's nodes are named (`parse_model`)."""
    reader = _Reader(model)
    conversions = {(reader.type_of(node.input[0]), reader.type_of(node.output[0])) for node in reader.graph.nodes
                   if node.op_type in ("Cast", "QuantizeLinear", "DequantizeLinear")}
    return AskedGraph({node.name: reader.asked_of(node) for node in reader.graph.nodes}, frozenset(conversions))


class _Reader:
    """Types by tensor, and the Q and DQ that a tensor meets past layers with which they commute."""

    def __init__(self, model: onnx.ModelProto):
        inferred = onnx.shape_inference.infer_shapes(model)
        self.graph = Graph(inferred)
        values = [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
        self._types = {value.name: value.type.tensor_type.elem_type for value in values}
        self._types |= {weight.name: weight.data_type for weight in inferred.graph.initializer}

    def type_of(self, tensor: str) -> str:
        return _NAMES.get(self._types.get(tensor, TensorProto.UNDEFINED), "")

    def asked_of(self, node: NodeProto) -> AskedTypes:
        types = {self.type_of(name) for name in (*node.input, *node.output)} & VALUES
        sources = [self._dequantizer(name) for name in node.input if name]
        if any(sources) or any(self._quantized_later(name) for name in node.output):
            types.add("int8")
        if node.op_type not in _PRODUCTS:
            return AskedTypes("", frozenset(types))
        integers = bool(sources[0] and sources[1])  # of weights alone in int8, TensorRT multiplies in float
        quantizer = self.graph.producers.get(sources[0].input[0]) if integers and sources[0] else None
        return AskedTypes("int8" if integers else self.type_of(node.input[0]), frozenset(types),
                          "int8" if sources[1] else self.type_of(node.input[1]),
                          frozenset((quantizer.name,) if quantizer else ()))

    def _dequantizer(self, tensor: str) -> NodeProto | None:
        """The DQ whose integers a tensor holds."""
        node: NodeProto | None = self.graph.producers.get(tensor)
        while node is not None and node.op_type in _COMMUTES:
            node = self.graph.producers.get(node.input[0])
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    def _quantized_later(self, tensor: str) -> bool:
        """Does a Q round this tensor, at once or past layers that commute with it?"""
        return any(node.op_type == "QuantizeLinear"
                   or (node.op_type in _COMMUTES and any(map(self._quantized_later, node.output)))
                   for node in self.graph.reads(tensor))
