"""Two graphs of one network → the first layer whose output departs, both computed node by node as they are written.

Tensors are matched by name, which every mien graph keeps from `fp32.onnx`. A compiled engine shows no tensors: its
graph is asked in its stead. Knows no labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from calibration.onnx_graph import parse_model
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput

FACES = 64
# dB, a tenth of the signal's amplitude. mien-light's INT8 layers lie at 28–36 against FP32, its FP16's at 64–68
# (64 faces of PublicTest); a scale wrong by 2 lies at about 0
LEAST_SQNR = 20.0
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class LayerDeparture:
    """One layer's output in the second graph against the first. sqnr: 10·log₁₀(signal power / noise power), dB."""

    layer: str  # its weight's name, which is the PyTorch module's
    tensor: str
    sqnr: float

    @property
    def departs(self) -> bool:
        """True below 20 dB; NaN and infinities in the output depart."""
        return not self.sqnr >= LEAST_SQNR


def layer_departures(before: bytes, after: bytes, faces: np.ndarray) -> tuple[LayerDeparture, ...]:
    """Compare every layer that both graphs have, in the graph's order, on (N, C, H, W) uint8 faces; no layer: ().

    Raises BadInput, BadModel for graphs that do not load.
    """
    graphs = parse_model(before, "the graph before"), parse_model(after, "the graph after")
    there = {tensor for node in graphs[1].graph.node for tensor in node.output}
    layers = [(layer_name(node), node.output[0]) for node in graphs[0].graph.node
              if node.op_type in LAYERS and node.output[0] in there]
    if not layers:
        return ()
    first, second = (tensors_of(graph, [tensor for _, tensor in layers], faces) for graph in graphs)
    return tuple(LayerDeparture(layer, tensor, sqnr(first[tensor], second[tensor])) for layer, tensor in layers)


def first_departure(before: bytes, after: bytes, faces: np.ndarray) -> LayerDeparture | None:
    """Return the first layer that departs; where none does, the noisiest; None for graphs that share no layer."""
    layers = layer_departures(before, after, faces)
    return next((layer for layer in layers if layer.departs), min(layers, key=lambda layer: layer.sqnr, default=None))


def sqnr(signal: np.ndarray, noisy: np.ndarray) -> float:
    """Return 10·log₁₀(signal power / noise power) in dB, at most 300; NaN where either is not finite."""
    a, b = signal.astype(np.float64), noisy.astype(np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    return float(10 * np.log10(max(np.square(a).sum(), 1e-300) / max(np.square(b - a).sum(), 1e-30 * np.square(a).sum(),
                                                                     1e-300)))


def tensors_of(graph: onnx.ModelProto, tensors: list[str], faces: np.ndarray) -> dict[str, np.ndarray]:
    """Return named tensors inside a graph, float32, for (N, C, H, W) uint8 faces: each node as it is written.

    Raises BadInput for a graph of several inputs, BadModel for one that does not load.
    """
    opened = onnx.ModelProto()
    opened.CopyFrom(graph)
    present = {output.name for output in graph.graph.output}
    opened.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in tensors if tensor not in present)
    engine = OnnxRuntimeEngine(opened.SerializeToString(), "a graph with its layers", "fp32", fuse_qdq=False)
    if len(engine.inputs) != 1:
        raise BadInput(f"expected a graph of one input, found {len(engine.inputs)}")
    name = engine.inputs[0].name
    return {tensor: value for tensor, value in _batches(engine, name, faces) if tensor in tensors}


def _batches(engine: OnnxRuntimeEngine, name: str, faces: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    found = [engine.run({name: np.ascontiguousarray(faces[i : i + FACES])}) for i in range(0, len(faces), FACES)]
    for tensor in found[0]:
        yield tensor, np.concatenate([answers[tensor] for answers in found]).astype(np.float32)


def layer_name(node: onnx.NodeProto) -> str:
    """Return a layer's name: its weight's, which is the PyTorch module's; else the node's."""
    return str(node.input[1]).removesuffix(".weight") if len(node.input) > 1 else str(node.name)
