"""ONNX files as people bring them: a residual network for float32 pictures, in the forms that exporters give it.

Knows nothing of mien's contract: no uint8, no scaling, opset 17, names of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

SIDE, CLASSES, WIDTH = 16, 7, 8
LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FREE, FIXED = "n", 1

# How the features become a row: only the second says the batch again
ROW = {"Flatten": ("Flatten", None), "Reshape": ("Reshape", [1, -1])}


def given_graph(channels: int = 3, batch: int | str = FREE, row: str = "Flatten", opset: int = 17,
                ends_in: NodeProto | None = None, input_name: str = "x") -> onnx.ModelProto:
    """Return conv, ReLU, conv + residual addition, ReLU, mean, linear: (batch, channels, 16, 16) → (batch, 7).

    ends_in: one more node, from `scores` to `y`.
    """
    random = np.random.default_rng(0)
    weights = {"w0": random.normal(0, 0.4, (WIDTH, channels, 3, 3)), "w1": random.normal(0, 0.2, (WIDTH, WIDTH, 3, 3)),
               "w2": random.normal(0, 2, (CLASSES, WIDTH)), "b2": random.normal(0, 1, CLASSES)}
    constants = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()]
    kind, sizes = ROW[row]
    if sizes is not None:
        constants.append(numpy_helper.from_array(np.array(sizes, np.int64), "sizes"))
    scores = "y" if ends_in is None else "scores"
    nodes = [
        helper.make_node("Conv", [input_name, "w0"], ["c0"], name="stem", pads=[1] * 4),
        helper.make_node("Relu", ["c0"], ["r0"], name="stem/relu"),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], name="block", pads=[1] * 4),
        helper.make_node("Add", ["r0", "c1"], ["sum"], name="block/add"),
        helper.make_node("Relu", ["sum"], ["r1"], name="block/relu"),
        helper.make_node("GlobalAveragePool", ["r1"], ["mean"], name="mean"),
        helper.make_node(kind, ["mean"] if sizes is None else ["mean", "sizes"], ["row"], name="row"),
        helper.make_node("Gemm", ["row", "w2", "b2"], [scores], name="classify", transB=1),
        *([] if ends_in is None else [ends_in])]
    graph = helper.make_graph(
        nodes, "given", [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, [batch, channels, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, CLASSES])], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save_given(path: Path, model: onnx.ModelProto) -> Path:
    """Write a model's file."""
    path.write_bytes(model.SerializeToString())
    return path
