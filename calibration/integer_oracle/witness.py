"""ONNX Runtime as a witness: every integer tensor of a graph, as it is written or with Q/DQ fused.

Knows nothing of what is legal. Only the CPU provider is asked.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from calibration.onnx_graph import Graph

BATCH = 16
# What holds integers in a fused graph, and where its output's zero-point stands among the inputs
_ZERO_POINT = {"QuantizeLinear": 2, "QLinearConv": 7}


def ask_onnxruntime(model: onnx.ModelProto, faces: np.ndarray, fuse: bool) -> dict[str, np.ndarray]:
    """Return Q integers and outputs for (N, C, H, W) uint8 faces, by tensor name.

    fuse: False computes each node as it stands; True is ONNX Runtime's default. A Q that its fusions leave no tensor of
    is absent then. Every node must have a name (`parse_model` gives one).
    """
    if not fuse:
        exposed, names = onnx.ModelProto(), [n.output[0] for n in model.graph.node if n.op_type == "QuantizeLinear"]
        exposed.CopyFrom(model)
        return _run(exposed, names, faces)
    graph, fused = Graph(model), _fused(model)
    standing = {tensor: name for name, tensor in _integer_tensors(graph, Graph(fused)).items()}
    seen = _run(fused, list(standing), faces)
    # ONNX Runtime's x86 kernels want uint8: it moves int8 and its zero-point up by 128 and leaves the meaning alone
    integers = {name: _as_int8(seen[tensor]) for tensor, name in standing.items()}
    return integers | _run(model, [], faces, optimize=True)


def _fused(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return what ONNX Runtime makes of a graph, Q/DQ fused.

    Its own file, because a tensor that is made an output beforehand is one that it no longer fuses over.
    """
    options = _options(optimize=True)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED  # above: only layouts
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "fused.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def _integer_tensors(graph: Graph, fused: Graph) -> dict[str, str]:
    """Return the fused graph's tensor for each Q output: the same Q's, or that of the layer it was fused into."""
    nodes = {n.name: n for n in fused.nodes}
    found = {}
    for q in graph.nodes:
        if q.op_type == "QuantizeLinear":
            layer = graph.producers.get(q.input[0])
            node = nodes.get(q.name) or (nodes.get(layer.name) if layer is not None else None)
            if node is not None and node.op_type in (*_ZERO_POINT, "MaxPool"):
                found[q.output[0]] = node.output[0]
    return found


def _as_int8(values: np.ndarray) -> np.ndarray:
    return values if values.dtype == np.int8 else (values.astype(np.int16) - 128).astype(np.int8)


def _run(model: onnx.ModelProto, tensors: list[str], faces: np.ndarray, optimize: bool = False,
         ) -> dict[str, np.ndarray]:
    """Run a graph and return its outputs and the named integer tensors."""
    graph = Graph(model)
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    for name in tensors:
        exposed.graph.output.append(helper.make_tensor_value_info(name, _integer_type(graph, name), None))
    session = onnxruntime.InferenceSession(exposed.SerializeToString(), _options(optimize),
                                           providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    parts = [session.run(names, {session.get_inputs()[0].name: faces[i : i + BATCH]})
             for i in range(0, len(faces), BATCH)]
    return {name: np.concatenate([part[index] for part in parts]) for index, name in enumerate(names)}


def _integer_type(graph: Graph, tensor: str) -> int:
    """Return the element type of a Q's, a QLinearConv's or an integer pooling's output: its zero-point's."""
    node = graph.producers[tensor]
    while node.op_type not in _ZERO_POINT:
        node = graph.producers[node.input[0]]
    return int(graph.weights[node.input[_ZERO_POINT[node.op_type]]].data_type)


def _options(optimize: bool) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: people's text is ours
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options
