"""Empirical bias correction: what rounding adds to a layer's output on average is taken from its bias.

Weights rounded mostly one way, and values clipped, shift a channel's mean for every face; a bias costs nothing to move
(Nagel et al. 2019, https://arxiv.org/abs/1906.04721, section 4.2 and appendix D). A MatMul has no bias, and
stays as it is. Knows no data set.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from calibration.exposed_graph import batches_of
from calibration.onnx_graph import Graph, output_axis, rebuild
from calibration.quantize import plan, quantize
from runtime.errors import BadInput, MienError

BATCH = 32


def correct_biases(model: onnx.ModelProto, scales: dict[str, np.float32], faces: np.ndarray,
                   keep_float: Collection[str] = ()) -> onnx.ModelProto:
    """Return the float32 graph with the biases that its INT8 form should have; run in float it is *not* the same.

    faces: (N, C, H, W) uint8 to calibrate on. keep_float: layers that are not rounded. Each layer in the graph's order
    is measured with those before it already corrected: one pass a layer over the graph up to there, in constant memory.
    Raises BadInput for faces of another shape or none, MienError naming a layer whose output is not finite.
    """
    chosen = plan(model, keep_float)
    biased = [n.name for n in model.graph.node if n.name in chosen.nodes and n.op_type != "MatMul"]
    reference = _with_own_biases(model, biased)
    # the GPU form holds the integers of the CPU form, and leaves the layers' own outputs as they are
    rounded = quantize(reference, chosen, scales, "gpu")
    biases = {n.name: n.input[2] for n in reference.graph.node if n.name in biased}
    outputs = {n.name: n.output[0] for n in reference.graph.node if n.name in biased}
    wanted = dict(zip(outputs, channel_means(reference, list(outputs.values()), faces)))
    for name, tensor in outputs.items():
        found = channel_means(rounded, [tensor], faces)[0]
        if not (np.isfinite(found).all() and np.isfinite(wanted[name]).all()):
            raise MienError(f"expected finite activations, found NaN or infinity in {tensor}; check the weights")
        for graph in (rounded, reference):
            _move_bias(graph, biases[name], wanted[name] - found)
    return reference


def channel_means(model: onnx.ModelProto, tensors: list[str], faces: np.ndarray) -> list[np.ndarray]:
    """Return the mean of every channel (axis 1) of each tensor over faces and places, (channels,) float64.

    Every Q and DQ runs as written, in float32. faces: (N, C, H, W) uint8. Raises BadInput for other faces, or none.
    """
    sums: list[np.ndarray] = []
    counts = [0] * len(tensors)
    for found in _answers(model, tensors, faces):
        by_channel = [values.sum(axis=_all_but_channels(values), dtype=np.float64) for values in found]
        sums = [a + b for a, b in zip(sums, by_channel)] if sums else by_channel
        counts = [count + values.size // values.shape[1] for count, values in zip(counts, found)]
    if not sums:
        raise BadInput("expected at least one calibration face, found none; check --images")
    return [total / count for total, count in zip(sums, counts)]


def _answers(model: onnx.ModelProto, tensors: list[str], faces: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yield the tensors batch by batch; ONNX Runtime leaves out every node that they do not depend on."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.output[:]
    part.graph.output.extend(onnx.helper.make_tensor_value_info(t, onnx.TensorProto.FLOAT, None) for t in tensors)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # its fusion rounds biases too
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    for batch in batches_of(faces, tuple(source.shape[1:]), BATCH):
        yield session.run(tensors, {source.name: batch})


def _all_but_channels(values: np.ndarray) -> tuple[int, ...]:
    return tuple(axis for axis in range(values.ndim) if axis != 1)


def _with_own_biases(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """Give every named layer a bias of its own: zeros where it has none, a copy where another node reads it too."""
    graph, nodes, weights = Graph(model), [], list(model.graph.initializer)
    shape_of = {w.name: w.dims for w in weights}
    for node in graph.nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        if node.name in names:
            old = node.input[2] if len(node.input) > 2 else ""
            if old and old not in graph.weights:
                raise BadInput(f"expected constant biases to correct, found {old}, which {node.name} is given at run "
                               f"time; keep that layer in float: --keep-float {node.name}")
            if not old or len(graph.reads(old)) > 1:
                channels = shape_of[node.input[1]][output_axis(node)]
                values = graph.weight(old) if old else np.zeros(channels, np.float32)
                name = f"{node.name}_bias"
                while name in shape_of:  # another layer's, named like this one
                    name += "_"
                weights.append(numpy_helper.from_array(np.asarray(values), name))
                del copy.input[2:]
                copy.input.append(name)
        nodes.append(copy)
    return rebuild(model, nodes, weights)


def _move_bias(model: onnx.ModelProto, name: str, by: np.ndarray) -> None:
    weight = next(w for w in model.graph.initializer if w.name == name)
    moved = numpy_helper.to_array(weight).astype(np.float64) + by
    weight.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), name))
