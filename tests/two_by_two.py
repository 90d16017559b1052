"""A graph with two inputs and two outputs of different types and sizes, exact in every precision: integers."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def graph() -> bytes:
    """double = 2 · small (N, 3) float32; mixed = pixels (N, 2, 5) as int32 + 1."""
    nodes = [
        helper.make_node("Mul", ["small", "two"], ["double"]),
        helper.make_node("Cast", ["pixels"], ["wide"], to=TensorProto.INT32),
        helper.make_node("Add", ["wide", "one"], ["mixed"]),
    ]
    made = helper.make_graph(
        nodes, "two by two",
        [helper.make_tensor_value_info("small", TensorProto.FLOAT, ["batch", 3]),
         helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 2, 5])],
        [helper.make_tensor_value_info("double", TensorProto.FLOAT, ["batch", 3]),
         helper.make_tensor_value_info("mixed", TensorProto.INT32, ["batch", 2, 5])],
        [numpy_helper.from_array(np.float32(2), "two"), numpy_helper.from_array(np.int32(1), "one")])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def inputs(count: int) -> dict[str, np.ndarray]:
    """Return both inputs for a batch."""
    random = np.random.default_rng(count)
    return {"pixels": random.integers(0, 256, (count, 2, 5), dtype=np.uint8),
            "small": random.integers(-99, 99, (count, 3)).astype(np.float32)}


def outputs(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the graph makes of them, in numpy."""
    return {"double": 2 * arrays["small"], "mixed": arrays["pixels"].astype(np.int32) + 1}
