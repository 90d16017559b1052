"""Anyone's float network → the graph that mien's engines take: uint8 pixels in, a free batch, float32 logits out.

What it changes must not change an answer; whether it did is measured by `model_from_onnx.py`, not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import onnx.compose
import onnx.version_converter
import onnxsim
from onnx import TensorProto, helper, numpy_helper

from calibration.onnx_graph import OPSET, Graph, rebuild
from export.imported.given_onnx import FREE_BATCH, GivenNetwork
from export.imported.pixel_scaling import PixelScaling
from export.onnx_from_torch import without_traces
from runtime.errors import BadInput
from runtime.preprocess import FaceInput

INPUT, OUTPUT = "faces", "logits"
_OURS = (INPUT, OUTPUT, "pixels")  # no tensor or node of the network may begin so
_PREFIX = "network/"  # else every name of it begins with this
# a Constant's attribute and its numbers' type; `value` is a tensor already, others are text or sparse
_CONSTANTS = {"value": None, "value_float": np.float32, "value_floats": np.float32, "value_int": np.int64,
              "value_ints": np.int64}


def contract_of_onnx(given: GivenNetwork, scaling: PixelScaling | None, how: FaceInput) -> onnx.ModelProto:
    """Return the simplified graph: (N, how.channels, H, W) uint8 → (N, classes) float32.

    scaling: None for a network that takes uint8 itself. Raises BadInput, also where the batch cannot be freed.
    """
    with refusing("a graph that onnx converts to opset", f"export with opset_version={OPSET}"):
        model = onnx.version_converter.convert_version(given.model, OPSET)
    source, target = given.input_name, given.output_name
    if _takes_our_names(model):
        model = onnx.compose.add_prefix(model, _PREFIX)
        source, target = _PREFIX + source, _PREFIX + target
    first = [helper.make_node("Identity", [INPUT], [source], name="pixels/given")]
    constants: list[onnx.TensorProto] = []
    if scaling is not None:
        first, constants = scaling.nodes(INPUT, source, given.channels, how.channels != given.channels)
    last = helper.make_node("Identity", [target], [OUTPUT], name="logits/named")
    batch = "batch" if given.batch_is_free else 1
    graph = helper.make_graph(
        [*first, *model.graph.node, last], "network",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [batch, how.channels, how.height, how.width])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [batch, given.classes])],
        [*constants, *model.graph.initializer])
    wrapped = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    with refusing("a graph that onnxsim simplifies", "run mien lint on it"):
        simplified = _with_weights_for_constants(without_traces(onnxsim.simplify(wrapped)[0]))
    if not given.batch_is_free:
        with refusing("a graph whose batch can be freed", FREE_BATCH):
            return _with_free_batch(simplified)
    with refusing("a graph whose shapes hold for every batch", FREE_BATCH):
        return rebuild(simplified, list(simplified.graph.node), list(simplified.graph.initializer))


@contextmanager
def refusing(expected: str, what_to_do: str) -> Iterator[None]:
    """Turn what onnx and onnxsim raise, which shares no base class, into one BadInput."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(f"expected {expected}, found: {said}; {what_to_do}") from error


def _takes_our_names(model: onnx.ModelProto) -> bool:
    graph = model.graph
    names = {name for node in graph.node for name in (node.name, *node.input, *node.output)}
    return any(name.startswith(_OURS) for name in names | {w.name for w in graph.initializer})


def _with_weights_for_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with initializers instead of its Constant nodes, as all that comes after looks for them."""
    weights, nodes = [], []
    for node in model.graph.node:
        name = node.attribute[0].name if node.op_type == "Constant" else ""
        if name in _CONSTANTS:
            value = helper.get_attribute_value(node.attribute[0])
            if name != "value":
                value = numpy_helper.from_array(np.asarray(value, _CONSTANTS[name]))
            value.name = node.output[0]
            weights.append(value)
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(weights)
    return model


def _with_free_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Free a batch of 1: in its inputs and outputs, and where a Reshape of the batch says 1 again.

    A 0 in a Reshape's target copies that size of its data (ONNX's Reshape, allowzero=0). Anything else that holds the
    batch to 1 is left for shape inference, or the comparison with single pictures, to find.
    """
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
              for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    graph = Graph(model)
    weights = list(model.graph.initializer)
    for node in graph.nodes:
        if node.op_type != "Reshape" or node.input[1] not in graph.weights or shapes.get(node.input[0], [0])[:1] != [1]:
            continue
        sizes = graph.weight(node.input[1]).copy()
        if sizes.size and sizes[0] == 1:
            sizes[0] = 0
            weights.append(numpy_helper.from_array(sizes.astype(np.int64), f"{node.name}_free_batch"))
            node.input[1] = weights[-1].name
            kept = [item for item in node.attribute if item.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return rebuild(model, graph.nodes, weights)
