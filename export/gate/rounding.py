"""One face through two graphs → each layer's departure, and how much of it rounding explains.

A layer gets the inputs that INT8 itself had, so nothing that earlier layers lost is held against it; the first gets the
pixels as FP32 scales them, and the padding of INT8's grid. Rounding explains half a step of its output, and six
standard deviations of what its rounded weights and inputs add, each an independent error of variance step²/12 (Widrow
and Kollár, *Quantization Noise*, 2008, chapter 5). The rest is clipping, or another function. Knows no label, and no
backend but ONNX Runtime's nodes as they are written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calibration.onnx_graph import Graph, parse_model
from calibration.pixel_grid import PixelGrid, pixel_grid
from export.gate.first_layer import LAYERS, layer_name, sqnr, tensors_of
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput

DEVIATIONS = 6.0  # a normal error exceeds it 2 times in 10⁹; mien-light has 0.5 million activations a face
FLOAT32, HALF = 2.0**-20, 2.0**-10  # what a layer's float sum may be off, of its largest value; half where it is kept


@dataclass(frozen=True, eq=False)
class LayerOnFace:
    """One layer and one face. beyond: its own departure over what rounding explains, the largest; above 1 it departs.

    channel: where that is; clipped: INT8 stands at the end of its range there. step: of the output's Q, 0 where it has
    none. sqnr (dB) and steps (largest |Δ|, NaN without a Q) are against FP32's own activations, earlier losses in them.
    reference, engine: that channel's activations (H, W) in FP32 and INT8.
    """

    layer: str
    beyond: float
    channel: int
    clipped: bool
    step: float
    sqnr: float
    steps: float
    reference: np.ndarray
    engine: np.ndarray

    @property
    def departs(self) -> bool:
        """True beyond rounding; NaN departs."""
        return not self.beyond <= 1


@dataclass(frozen=True)
class _Layer:
    """A layer in both graphs, and the tensors between which INT8 computes it."""

    before: onnx.NodeProto
    after: onnx.NodeProto
    given: str  # what its input was before its Q
    taken: str  # what the next node takes of its output
    step: float
    input_step: float
    weight_steps: np.ndarray | None  # broadcast over its weight; None: kept float
    rectified: bool  # only what is above 0 goes on
    shift: float | None  # of pixels on INT8's own grid: FP32's input is what they stand for, padding apart


def layers_on_face(before: bytes, after: bytes, face: np.ndarray) -> tuple[LayerOnFace, ...]:
    """Compare FP32's ONNX bytes with INT8's, layer by layer in order, on one (1, C, H, W) uint8 face.

    Raises BadInput for graphs without a layer in common, BadModel for those that do not load.
    """
    graphs = Graph(parse_model(before, "the FP32 graph")), Graph(parse_model(after, "the INT8 graph"))
    grid = pixel_grid(graphs[0])
    layers = [_layer(graphs, node, grid) for node in graphs[0].nodes if _is_layer(graphs, node)]
    if not layers:
        raise BadInput("expected graphs with a layer in common, found none; was INT8 calibrated from this fp32.onnx?")
    read = {layer.before.output[0] for layer in layers} | {layer.given for layer in layers if layer.shift is not None}
    wanted = tensors_of(graphs[0].model, sorted(read), face)
    names = {name for layer in layers for name in (layer.given, layer.after.input[0], layer.taken)}
    seen = tensors_of(graphs[1].model, sorted(names), face)
    return tuple(_compare(graphs[0], layer, wanted, seen) for layer in layers)


def _is_layer(graphs: tuple[Graph, Graph], node: onnx.NodeProto) -> bool:
    return node.op_type in LAYERS and node.input[1] in graphs[0].weights and node.output[0] in graphs[1].producers


def _layer(graphs: tuple[Graph, Graph], before: onnx.NodeProto, grid: PixelGrid | None) -> _Layer:
    graph = graphs[1]
    after = graph.producers[before.output[0]]
    given, input_step = _before_q(graph, after.input[0])
    taken, step, rectified = after.output[0], 0.0, False
    for q in graph.reads(taken):
        if q.op_type == "QuantizeLinear":
            dq = graph.reads(q.output[0])[0]
            step, taken = float(graph.weight(q.input[1])), dq.output[0]
            rectified = all(reader.op_type == "Relu" for reader in graph.reads(taken))
            break
    return _Layer(before, after, given, taken, step, input_step, _weight_steps(graphs, before, after), rectified,
                  grid.shift if grid and given == grid.tensor and input_step == grid.scale else None)


def _before_q(graph: Graph, tensor: str) -> tuple[str, float]:
    """Return the tensor that a DQ's Q rounded, and its step; the tensor itself and 0 where it is no DQ's."""
    dq = graph.producers.get(tensor)
    q = graph.producers.get(dq.input[0]) if dq is not None and dq.op_type == "DequantizeLinear" else None
    return (tensor, 0.0) if q is None else (q.input[0], float(graph.weight(q.input[1])))


def _weight_steps(graphs: tuple[Graph, Graph], before: onnx.NodeProto, after: onnx.NodeProto) -> np.ndarray | None:
    dq = graphs[1].producers.get(after.input[1])
    if dq is None or dq.op_type != "DequantizeLinear":
        return None
    shape, scale = graphs[0].weights[before.input[1]].dims, graphs[1].weight(dq.input[1]).astype(np.float32)
    if scale.ndim:
        axis = next((a.i for a in dq.attribute if a.name == "axis"), 1)
        scale = scale.reshape([-1 if place == axis % len(shape) else 1 for place in range(len(shape))])
    return np.broadcast_to(scale, shape)


def _compare(graph: Graph, layer: _Layer, wanted: dict[str, np.ndarray], seen: dict[str, np.ndarray]) -> LayerOnFace:
    weight = graph.weight(layer.before.input[1])
    given, rounded = seen[layer.given], seen[layer.after.input[0]]
    if layer.shift is not None:
        given = wanted[layer.given] - np.float32(layer.shift)
    exact = _run_layer(graph, layer.before, given, weight, with_bias=True)
    if layer.shift:  # in INT8's bias, so that padding has it too
        exact += layer.shift * weight.sum(axis=tuple(range(1, weight.ndim))).reshape(1, -1, *[1] * (weight.ndim - 2))
    variance = np.zeros_like(exact)
    if layer.weight_steps is not None:
        variance += _run_layer(graph, layer.before, rounded**2, layer.weight_steps**2 / 12)
    if not np.array_equal(given, rounded):
        variance += _run_layer(graph, layer.before, np.full_like(given, layer.input_step**2 / 12), weight**2)
    found, own = seen[layer.taken], wanted[layer.before.output[0]]
    if layer.rectified:
        exact, found, own = (np.maximum(values, 0) for values in (exact, found, own))
    floor = (HALF if layer.weight_steps is None else FLOAT32) * float(np.abs(exact).max()) + 1e-30
    beyond = _by_channel(np.abs(found - exact) / (layer.step / 2 + DEVIATIONS * np.sqrt(variance) + floor))
    beyond[~np.isfinite(beyond)] = math.inf
    at = np.unravel_index(int(beyond.argmax()), beyond.shape)
    shown, reference = _by_channel(found), _by_channel(own)
    clipped = layer.step > 0 and not -127.5 < shown[at] / layer.step < 126.5
    return LayerOnFace(layer_name(layer.before), float(beyond[at]), int(at[0]), bool(clipped), layer.step,
                       sqnr(own, found), float(np.abs(found - own).max()) / layer.step if layer.step else math.nan,
                       reference[at[0]], shown[at[0]])


def _run_layer(graph: Graph, node: onnx.NodeProto, values: np.ndarray, weight: np.ndarray,
               with_bias: bool = False) -> np.ndarray:
    """Compute one node alone on other inputs and weights."""
    alone = onnx.NodeProto()
    alone.CopyFrom(node)
    del alone.input[:]
    alone.input.extend(["values", "weight", *(["bias"] if with_bias and len(node.input) > 2 else [])])
    constants = [numpy_helper.from_array(np.ascontiguousarray(weight, np.float32), "weight")]
    if len(alone.input) > 2:
        constants.append(numpy_helper.from_array(graph.weight(node.input[2]), "bias"))
    one = helper.make_graph(
        [alone], "layer", [helper.make_tensor_value_info("values", TensorProto.FLOAT, values.shape)],
        [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)], constants)
    model = helper.make_model(one, opset_imports=graph.model.opset_import, ir_version=graph.model.ir_version)
    engine = OnnxRuntimeEngine(model.SerializeToString(), layer_name(node), "fp32", threads=1)
    return engine.run({"values": np.ascontiguousarray(values, np.float32)})[node.output[0]]


def _by_channel(values: np.ndarray) -> np.ndarray:
    """Return one face's (1, C, …) values as (C, H, W): a vector's channels have one value, a sequence's one row."""
    rows = values.reshape(values.shape[1], -1) if values.ndim < 4 else values[0]
    return rows if rows.ndim == 3 else rows[:, None, :]
