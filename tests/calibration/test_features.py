"""Penultimate features from the graph alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from tiny_graphs import CLASSES, GraphWriter, random_faces, vgg_graph

from calibration.exposed_graph import open_with_outputs
from calibration.features import feature_tensor, features_of
from calibration.onnx_graph import Graph
from runtime.errors import BadInput, MienError


def test_features_are_what_the_last_linear_layer_reads() -> None:
    model, faces = vgg_graph(), random_faces(40)
    features = features_of(model, faces)
    assert features.shape == (40, 16)
    graph = Graph(model)
    linear = graph.producers["logits"]
    logits = features @ graph.weight(linear.input[1]).T + graph.weight(linear.input[2])
    wanted = open_with_outputs(model, ["logits"]).run(["logits"], {"faces": faces})[0]
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5)


def test_the_last_of_several_linear_layers_counts() -> None:
    w = GraphWriter()
    flat = w.node("Flatten", [w.mean(w.conv_relu(w.pixels(), 1, 8), 2, 3)])
    hidden = w.node("Relu", [w.node("Gemm", [flat, w.floats("weight", 6, 8), w.floats("bias", 6)], transB=1)])
    w.nodes.append(onnx.helper.make_node("MatMul", [hidden, w.floats("weight", 6, CLASSES)], ["logits"], name="last"))
    model = w.model()
    assert feature_tensor(model) == hidden and features_of(model, random_faces(2)).shape == (2, 6)


def test_a_graph_without_a_linear_layer_is_refused() -> None:
    w = GraphWriter()
    means = w.mean(w.conv(w.pixels(), 1, CLASSES), 2, 3, keep=0)
    w.nodes.append(onnx.helper.make_node("Identity", [means], ["logits"], name="end"))
    with pytest.raises(BadInput, match="--choice random or stratified"):
        feature_tensor(w.model())


def test_no_faces_are_refused() -> None:
    with pytest.raises(BadInput, match="at least one face"):
        features_of(vgg_graph(), [])


def test_a_feature_that_is_not_finite_names_the_image() -> None:
    w = GraphWriter()
    logarithm = w.node("Log", [w.node("Cast", ["faces"], to=1)])
    w.classify(w.mean(logarithm, 2, 3), 1)
    faces = np.full((5, 1, 16, 16), 9, dtype=np.uint8)
    faces[3, 0, 0, 0] = 0
    with pytest.raises(MienError, match="for image 3"):
        features_of(w.model(), faces)
