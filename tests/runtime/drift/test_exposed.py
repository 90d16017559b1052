"""Bytes that open a graph, against ONNX Runtime and the onnx library."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from tiny_model import TinyNetwork
from watched_model import random_faces

from runtime.drift.exposed import expose
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadModel

GRAPH = TinyNetwork.random().graph().SerializeToString()


def test_named_tensors_come_out_beside_the_answer() -> None:
    faces = random_faces(2)
    found = OnnxRuntimeEngine(expose(GRAPH, ["unit", "pooled"]), "tiny", "fp32", 1).run({"faces": faces})
    assert set(found) == {"logits", "unit", "pooled"}
    np.testing.assert_allclose(found["unit"], faces / np.float32(255), rtol=1e-6)
    np.testing.assert_array_equal(
        found["logits"], OnnxRuntimeEngine(GRAPH, "tiny", "fp32", 1).run({"faces": faces})["logits"])


def test_the_onnx_library_reads_the_same_outputs() -> None:
    name = "x" * 300  # a length of two bytes
    outputs = onnx.load_model_from_string(expose(GRAPH, ["unit", name])).graph.output
    assert [o.name for o in outputs] == ["logits", "unit", name]
    assert outputs[1].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_nothing_to_expose_changes_nothing() -> None:
    assert expose(GRAPH, []) == GRAPH


def test_a_tensor_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadModel, match="expected a graph that ONNX Runtime loads"):
        OnnxRuntimeEngine(expose(GRAPH, ["nowhere"]), "tiny", "fp32", 1)
