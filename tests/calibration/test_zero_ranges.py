"""Tensors and channels of nothing but zeros: warned of, kept, and nothing is divided by zero."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from tiny_graphs import random_faces, vgg_graph

from calibration.observe import observe
from calibration.onnx_graph import Graph, parse_model
from calibration.pixel_grid import choose_scales
from calibration.quantize import plan, quantize
from calibration.ranges import METHODS
from calibration.zero_ranges import warn_of_zeros
from runtime.histogram import Histogram


def with_weights(change) -> onnx.ModelProto:
    """Return the tiny VGG with `change` applied to its second convolution's weight and bias."""
    model = parse_model(vgg_graph().SerializeToString(), "tiny")
    node = [n for n in model.graph.node if n.op_type == "Conv"][1]
    for tensor in model.graph.initializer:
        if tensor.name in node.input:
            values = numpy_helper.to_array(tensor).copy()
            change(values)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def dead_layer(values: np.ndarray) -> None:
    values[:] = 0


def dead_channel(values: np.ndarray) -> None:
    if values.ndim == 4:
        values[3] = 0


def test_a_sound_graph_has_no_warning() -> None:
    model = with_weights(lambda values: None)
    assert warn_of_zeros(model, plan(model), observe(model, plan(model).tensors, random_faces(4))) == ()


def test_a_dead_channel_names_its_layer() -> None:
    model = with_weights(dead_channel)
    lines = warn_of_zeros(model, plan(model), {})
    node = [n.name for n in Graph(model).nodes if n.op_type == "Conv"][1]
    assert len(lines) == 1 and lines[0].startswith(f"{node} has 1 of 8 output channels")


def test_a_tensor_that_is_always_zero_is_named() -> None:
    histogram = Histogram()
    histogram.add(np.zeros(4, np.float32))
    model = with_weights(lambda values: None)
    assert "relu_out is zero on every image" in warn_of_zeros(model, plan(model), {"relu_out": histogram})[0]


@pytest.mark.parametrize("change", [dead_layer, dead_channel])
@pytest.mark.parametrize("method", METHODS)
def test_what_never_moves_is_quantized_without_dividing_by_zero(change, method: str) -> None:
    model = with_weights(change)
    chosen = plan(model)
    histograms = observe(model, chosen.tensors, random_faces(4))
    scales = choose_scales(model, histograms, method, 99.9)
    quantized = quantize(model, chosen, scales, "cpu")
    session = onnxruntime.InferenceSession(quantized.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.isfinite(session.run(None, {"faces": random_faces(3)})[0]).all()
