"""Rules on QuantizeLinear and DequantizeLinear one by one: types, zero-points, axes, and that they come in pairs.

Knows nothing of speed. An operator is known by its name in any domain, as TensorRT's parser knows it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, TensorProto

from calibration.lint.finding import Places, Rule
from calibration.lint.number_rules import SCALED, scales
from calibration.lint.view import Scope, View
from calibration.onnx_graph import attribute

EXPLICIT = "https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/quantized-types-explicit-quantization.html"
QUANTIZED = "https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html"
BIAS = "https://github.com/microsoft/onnxruntime/issues/14229"
OPERATORS = "https://github.com/onnx/onnx-tensorrt/blob/main/docs/operators.md"
WHITEPAPER = "https://arxiv.org/abs/1806.08342"  # Krishnamoorthi 2018, table 3: MobileNets with one scale a layer

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# They hand integers on as they are, so Q and DQ still belong together across them
TRANSPARENT = ("MaxPool", "Reshape", "Flatten", "Identity", "Squeeze", "Unsqueeze", "Transpose")


def quantized_weights(view: View) -> Iterator[tuple[Scope, NodeProto, NodeProto]]:
    """Yield every weighted node whose weight comes out of a DQ, and that DQ."""
    for scope, node in view.nodes(*WEIGHTED):
        made_by = source(scope, node.input[1])
        if made_by is not None and made_by.op_type == "DequantizeLinear" and is_weight(scope, made_by):
            yield scope, node, made_by


def source(scope: Scope, name: str) -> NodeProto | None:
    """Return the node that makes a tensor, looking through nodes that only move values."""
    for _ in range(len(scope.nodes) + 1):  # a cycle is invalid ONNX, not a reason to hang
        node = scope.producer(name)
        if node is None or node.op_type not in TRANSPARENT or not node.input:
            return node
        name = node.input[0]
    return None


def is_weight(scope: Scope, dequantize: NodeProto) -> bool:
    """Does a DQ read stored integers, or a stored float through a Q?"""
    if scope.is_constant(dequantize.input[0]):
        return True
    made_by = scope.producer(dequantize.input[0])
    return made_by is not None and made_by.op_type == "QuantizeLinear" and scope.is_constant(made_by.input[0])


def is_depthwise(scope: Scope, node: NodeProto) -> bool:
    """Is this a convolution in which every channel is a group of its own?"""
    shape = scope.shape_of(node.input[1]) or []
    return node.op_type == "Conv" and attribute(node, "group", 1) > 1 and shape[1:2] == [1]


def _bias_int32(view: View) -> Places:
    for scope, node in view.nodes("DequantizeLinear"):
        if scope.type_of(node.input[0]) == TensorProto.INT32:
            users = [r.name for r in scope.reads(node.output[0]) if node.output[0] in list(r.input)[2:3]]
            yield node.name, f"DequantizeLinear reads int32{f', the bias of {users[0]}' if users else ''}"


def _zero_point(view: View) -> Places:
    for scope, node in view.nodes(*SCALED):
        points = scope.values(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if points is not None and points.dtype.kind in "iuV" and points.any():  # V: 4-bit integers
            yield node.name, f"zero-point {int(points[points != 0].flat[0])}: asymmetric quantization"


def _uint8_integers(view: View) -> Places:
    for scope, node in view.nodes("DequantizeLinear"):
        made_by = source(scope, node.input[0])
        if scope.type_of(node.input[0]) == TensorProto.UINT8 and (made_by is None or made_by.op_type == "Constant"):
            yield node.name, f"DequantizeLinear reads uint8 {'weights' if is_weight(scope, node) else 'data'}"


def _int8_constant(view: View) -> Places:
    """The compiler says that only DQ may read one; that it takes a DQ of a scalar for none was found by asking it."""
    for scope, node in view.nodes():
        for place, name in enumerate(node.input):
            if scope.type_of(name) != TensorProto.INT8 or not scope.is_constant(name):
                continue
            if node.op_type not in SCALED:
                yield node.name, f"{node.op_type} reads int8 constant {name}"
            elif place == 0 and scope.shape_of(name) == []:
                yield node.name, f"{name} is an int8 scalar"


def _uint8_activations(view: View) -> Places:
    for scope, node in view.nodes("QuantizeLinear"):
        if attribute(node, "output_dtype", 0) not in (0, TensorProto.UINT8):
            continue
        if len(node.input) < 3 or not node.input[2]:
            yield node.name, "no zero-point, which in ONNX means uint8"
        elif scope.type_of(node.input[2]) == TensorProto.UINT8:
            yield node.name, "QuantizeLinear to uint8"


def _per_tensor(view: View) -> Places:
    for scope, node, dequantize in quantized_weights(view):
        if not is_depthwise(scope, node) and _one_scale(scope, dequantize):
            yield node.name, f"one scale for the whole weight of {node.op_type}"


def _per_tensor_depthwise(view: View) -> Places:
    for scope, node, dequantize in quantized_weights(view):
        if is_depthwise(scope, node) and _one_scale(scope, dequantize):
            yield node.name, f"one scale for {attribute(node, 'group', 1)} depth-wise channels"


def _one_scale(scope: Scope, dequantize: NodeProto) -> bool:
    values, weight = scope.values(dequantize.input[1]), scope.shape_of(dequantize.input[0])
    return values is not None and values.size == 1 and (weight is None or weight[:1] != [1])


def _per_channel_activations(view: View) -> Places:
    for scope, node, values in scales(view):
        if values.size > 1 and node.op_type == "QuantizeLinear" and not scope.is_constant(node.input[0]):
            yield node.name, f"{values.size} scales for one activation"


def _q_without_dq(view: View) -> Places:
    for scope, node in view.nodes("QuantizeLinear"):
        if node.output[0] in scope.outputs:
            yield node.name, "its integers are an output of the graph"
        for reader in _beyond_moves(scope, node.output[0]):
            if reader.op_type != "DequantizeLinear":
                yield node.name, f"its integers go to {reader.op_type} {reader.name}"


def _beyond_moves(scope: Scope, name: str) -> Iterator[NodeProto]:
    """Yield what reads a tensor, looking through nodes that only move values."""
    waiting, seen = [name], set()
    while waiting:
        for reader in scope.reads(waiting.pop()):
            if reader.name in seen:
                continue
            seen.add(reader.name)
            if reader.op_type in TRANSPARENT and reader.output:
                waiting.append(reader.output[0])
            else:
                yield reader


def _dq_without_q(view: View) -> Places:
    for scope, node in view.nodes("DequantizeLinear"):
        if is_weight(scope, node):
            continue
        made_by = source(scope, node.input[0])
        if made_by is None or made_by.op_type != "QuantizeLinear":
            yield node.name, f"its integers come from {f'{made_by.op_type} {made_by.name}' if made_by else 'an input'}"


def _pair_differs(view: View) -> Places:
    for scope, node, back in scales(view):
        made_by = source(scope, node.input[0]) if node.op_type == "DequantizeLinear" else None
        forth = scope.values(made_by.input[1]) if made_by is not None and made_by.op_type == "QuantizeLinear" else None
        if forth is not None and not np.array_equal(forth.astype(np.float32), back.astype(np.float32)):
            yield node.name, f"scale {float(back.flat[0]):g} behind a Q of {float(forth.flat[0]):g}"


RULES = (
    Rule("bias-int32", "error", "a bias stays float: no DequantizeLinear reads int32",
         "keep the bias in float (mien calibrate does; ONNX Runtime: QuantizeBias=False)", BIAS, "rejected",
         _bias_int32),
    Rule("zero-point", "error", "quantization is symmetric: every zero-point is 0",
         "calibrate again with symmetric activations and weights", QUANTIZED, "rejected", _zero_point),
    Rule("uint8-integers", "error", "stored integers and integer inputs are int8", "quantize weights to int8, ±127",
         OPERATORS, "rejected", _uint8_integers),
    Rule("int8-constant", "error", "an int8 constant has a dimension, and only DQ reads it",
         "quantize weights only, not scalars that are added or multiplied; dequantize before other nodes", EXPLICIT,
         "rejected", _int8_constant),
    Rule("uint8-activations", "warning", "activations are int8: TensorRT takes uint8 for int8, and every value above "
         "127 · scale clips", "give Q and DQ an int8 zero-point, and scales for ±127", OPERATORS, "accepted",
         _uint8_activations),
    Rule("weights-per-tensor-depthwise", "warning", "a depth-wise weight has a scale for each channel",
         "quantize per channel, axis 0", WHITEPAPER, "accepted", _per_tensor_depthwise),
    Rule("weights-per-tensor", "warning", "a weight has a scale for each output channel",
         "quantize per channel, along the output axis", EXPLICIT, "accepted", _per_tensor),
    Rule("activations-per-channel", "warning", "an activation has one scale", "quantize activations per tensor",
         EXPLICIT, "accepted", _per_channel_activations),
    Rule("q-without-dq", "warning", "every Q leads to a DQ, or to nodes that only move values and then to one",
         "put a DQ of the same scale behind it", EXPLICIT, "accepted", _q_without_dq),
    Rule("dq-without-q", "warning", "every DQ of an activation stands behind a Q",
         "put a Q of the same scale before it", EXPLICIT, "accepted", _dq_without_q),
    Rule("pair-differs", "warning", "Q and its DQ have one scale: otherwise the pair multiplies the tensor",
         "give both the same scale", EXPLICIT, "accepted", _pair_differs),
)
