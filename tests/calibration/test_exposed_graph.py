"""A graph that also returns what lies inside it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from tiny_graphs import random_faces, vgg_graph

from calibration.exposed_graph import batches_of, open_with_outputs
from runtime.errors import BadInput


def test_inner_tensors_and_the_graphs_own_output_come_back() -> None:
    model, faces = vgg_graph(), random_faces(3)
    relu = next(n.output[0] for n in model.graph.node if n.op_type == "Relu")
    inner, logits = open_with_outputs(model, [relu, "logits"]).run([relu, "logits"], {"faces": faces})
    assert inner.shape == (3, 8, 16, 16) and inner.min() == 0
    plain = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(logits, plain.run(None, {"faces": faces})[0], rtol=1e-5)


def test_faces_come_in_batches_in_their_order() -> None:
    faces = random_faces(7)
    batches = list(batches_of(iter(faces), (1, 16, 16), 3))
    assert [len(b) for b in batches] == [3, 3, 1]
    assert (np.concatenate(batches) == faces).all()


def test_a_face_of_another_shape_is_named_by_its_number() -> None:
    faces = [*random_faces(2), np.zeros((3, 16, 16), np.uint8)]
    with pytest.raises(BadInput, match=r"found \(3, 16, 16\) uint8 as image 2"):
        list(batches_of(faces, (1, 16, 16), 8))


def test_a_graph_of_float_pixels_is_refused() -> None:
    graph = vgg_graph()
    graph.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    with pytest.raises(BadInput, match="one input is uint8 pixels, found faces FLOAT; let a Cast"):
        open_with_outputs(graph, [])
