"""Rules on speed: Q/DQ where TensorRT fuses, channels that fill its INT8 kernels, depth-wise layers.

The costs are NVIDIA's word; none was measured here. The project's CPU form, which puts ReLU between two equal-scale
pairs on purpose (`calibration/quantize.py`), is known as such and named once, not blamed at every layer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto

from calibration.lint.finding import Places, Rule
from calibration.lint.qdq_rules import EXPLICIT, is_depthwise, quantized_weights, source
from calibration.lint.view import Scope, View

FORMATS = "https://docs.nvidia.com/deeplearning/tensorrt/latest/reference/data-format-desc.html"
GROUPED = "https://github.com/NVIDIA/TensorRT/issues/4529"
ACTIVATIONS = ("Relu", "Clip", "LeakyRelu")
CONVOLUTIONS = ("Conv", "ConvTranspose")


def _dequantized(scope: Scope, name: str) -> NodeProto | None:
    """Return the DQ that makes a tensor, looking through nodes that only move values."""
    node = source(scope, name)
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def _rounded(scope: Scope, name: str) -> tuple[NodeProto, NodeProto] | None:
    """Return (the node whose result it is, DQ) where a tensor went through Q/DQ."""
    dequantize = _dequantized(scope, name)
    quantize = source(scope, dequantize.input[0]) if dequantize is not None else None
    if dequantize is None or quantize is None or quantize.op_type != "QuantizeLinear":
        return None
    made_by = source(scope, quantize.input[0])
    return None if made_by is None else (made_by, dequantize)


def _split_relus(view: View) -> Iterator[tuple[NodeProto, NodeProto, bool]]:
    """Yield (convolution or addition, activation, equal scales on both sides) where Q/DQ part the two."""
    for scope, node in view.nodes(*ACTIVATIONS):
        rounded = _rounded(scope, node.input[0])
        if rounded is None or rounded[0].op_type not in (*CONVOLUTIONS, "Add"):
            continue
        before = scope.values(rounded[1].input[1])
        after = [scope.values(r.input[1]) for r in scope.reads(node.output[0]) if r.op_type == "QuantizeLinear"]
        equal = before is not None and bool(after) and all(a is not None and np.array_equal(a, before) for a in after)
        yield rounded[0], node, equal


def _is_cpu_form(view: View) -> bool:
    parted = list(_split_relus(view))
    return bool(parted) and all(equal for _, _, equal in parted)


def _fusion_relu(view: View) -> Places:
    if not _is_cpu_form(view):
        yield from ((relu.name, f"Q/DQ part it from {before.op_type} {before.name}")
                    for before, relu, _ in _split_relus(view))


def _cpu_form(view: View) -> Places:
    if _is_cpu_form(view):
        count = len(list(_split_relus(view)))
        yield "graph", f"{count} activations between pairs of equal scale: ONNX Runtime's CPU form"


def _fusion_batch_norm(view: View) -> Places:
    for scope, node in view.nodes("BatchNormalization"):
        rounded = _rounded(scope, node.input[0])
        if rounded is not None and rounded[0].op_type in CONVOLUTIONS:
            yield node.name, f"Q/DQ part it from {rounded[0].op_type} {rounded[0].name}"


def _fusion_add(view: View) -> Places:
    for scope, node, branches in _residuals(view):
        ends = [r[0] for r in (_rounded(scope, b) for b in branches) if r and _is_int8_convolution(scope, r[0])]
        if ends and not any(_is_int8_convolution(scope, scope.producer(branch)) for branch in branches):
            yield node.name, f"Q/DQ part it from {ends[0].op_type} {ends[0].name}"


def _residual_float(view: View) -> Places:
    for scope, node, branches in _residuals(view):
        convolved = [branch for branch in branches if _is_int8_convolution(scope, scope.producer(branch))]
        if convolved and not any(_dequantized(scope, branch) for branch in branches):
            skip = next((branch for branch in branches if branch not in convolved), branches[1])
            yield node.name, f"the branch {skip} is float"


def _residuals(view: View) -> Iterator[tuple[Scope, NodeProto, list[str]]]:
    for scope, node in view.nodes("Add"):
        branches = list(node.input)
        if len(branches) == 2 and not any(scope.is_constant(branch) for branch in branches):
            yield scope, node, branches


def _is_int8_convolution(scope: Scope, node: NodeProto | None) -> bool:
    """Does this node convolve integers with integers?"""
    return node is not None and node.op_type in CONVOLUTIONS and all(
        _dequantized(scope, tensor) is not None for tensor in node.input[:2])


def _float_data(view: View) -> Places:
    for scope, node, _ in quantized_weights(view):
        if _dequantized(scope, node.input[0]) is None:
            yield node.name, f"{node.op_type} of an INT8 weight reads float {node.input[0]}"


def _channels(view: View) -> Iterator[tuple[str, str, int]]:
    for scope, node, _ in quantized_weights(view):
        shape = scope.shape_of(node.input[1])
        data = scope.shape_of(node.input[0])
        if node.op_type != "Conv" or not shape or is_depthwise(scope, node):
            continue
        for what, count in (("input", data[1] if data and len(data) > 1 else None), ("output", shape[0])):
            if isinstance(count, int):
                yield node.name, f"{count} {what} channel{'' if count == 1 else 's'}", count


def _channels_4(view: View) -> Places:
    yield from ((name, found) for name, found, count in _channels(view) if count % 4)


def _channels_32(view: View) -> Places:
    yield from ((name, found) for name, found, count in _channels(view) if count % 32 and not count % 4)


def _depthwise(view: View) -> Places:
    for scope, node, _ in quantized_weights(view):
        if is_depthwise(scope, node):
            yield node.name, f"a depth-wise convolution in INT8 ({view.target.compiler})"


RULES = (
    Rule("fusion-relu", "warning", "nothing is rounded between a convolution (or its addition) and its activation",
         "put the Q behind the activation, as mien's int8-gpu.onnx does", EXPLICIT, "accepted", _fusion_relu),
    Rule("fusion-batch-norm", "warning", "nothing is rounded between a convolution and its batch norm",
         "fold the batch norm into the weights, or put the Q behind it", EXPLICIT, "accepted", _fusion_batch_norm),
    Rule("fusion-add", "warning", "of a convolution + residual addition only the skip branch is rounded",
         "take the Q/DQ off the branch that ends in the convolution", EXPLICIT, "accepted", _fusion_add),
    Rule("residual-float", "warning", "the skip branch of a residual addition is rounded: else the fused convolution "
         "writes floats", "put Q/DQ on the skip branch", EXPLICIT, "accepted", _residual_float),
    Rule("float-data", "warning", "what an INT8 weight meets is INT8 too: else the layer computes in float",
         "put Q/DQ before the data input", EXPLICIT, "accepted", _float_data),
    Rule("depthwise-int8", "warning", "depth-wise convolutions stay in half: in INT8 they were reported slower",
         "leave the layer unquantized, and time both on the device", GROUPED, "accepted", _depthwise),
    Rule("channels-4", "warning", "INT8 convolutions have multiples of 4 channels, TensorRT's smallest INT8 vector; "
         "others are padded", "widen the layer, or keep a first layer of 1 or 3 channels in half", FORMATS, "accepted",
         _channels_4),
    Rule("channels-32", "note", "INT8 convolutions have multiples of 32 channels, TensorRT's full INT8 vector; "
         "others are padded", "widen the layer where it costs time", FORMATS, "accepted", _channels_32),
    Rule("cpu-form", "note", "a GPU gets the GPU form", "give TensorRT int8-gpu.onnx, which holds the same integers",
         EXPLICIT, "accepted", _cpu_form),
)
