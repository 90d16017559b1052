"""float32 → half precision: pixels are prepared in float32, logits come out as float32."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_graphs import CLASSES, GRAPHS, GraphWriter, random_faces, vgg_graph

from calibration.onnx_graph import Graph, parse_model
from calibration.quantize import plan, quantize
from export.half_from_onnx import half_from_onnx
from runtime.errors import BadModel

EVERY_GRAPH = pytest.mark.parametrize("name", sorted(GRAPHS))


def float_graph(name: str) -> onnx.ModelProto:
    return parse_model(GRAPHS[name]().SerializeToString(), name)


def quantized_graph(name: str) -> onnx.ModelProto:
    model = float_graph(name)
    chosen = plan(model)
    return quantize(model, chosen, dict.fromkeys(chosen.tensors, np.float32(0.03125)), "gpu")


def largest_delta(run_onnx, one: onnx.ModelProto, other: onnx.ModelProto) -> float:
    faces = random_faces(16, seed=3)
    return float(np.abs(run_onnx(one, faces) - run_onnx(other, faces)).max())


@EVERY_GRAPH
def test_half_precision_keeps_the_logits_close(run_onnx, name: str) -> None:
    model = float_graph(name)
    assert 0 < largest_delta(run_onnx, model, half_from_onnx(model)) < 0.01


@EVERY_GRAPH
def test_the_remainder_of_an_int8_graph_becomes_half(run_onnx, name: str) -> None:
    model = quantized_graph(name)
    assert largest_delta(run_onnx, model, half_from_onnx(model)) < 0.05


@EVERY_GRAPH
def test_logits_leave_as_float32(name: str) -> None:
    model = half_from_onnx(float_graph(name))
    assert [o.type.tensor_type.elem_type for o in model.graph.output] == [TensorProto.FLOAT]


@EVERY_GRAPH
@pytest.mark.parametrize("make", [float_graph, quantized_graph])
def test_the_pixels_are_normalized_in_float32(make, name: str) -> None:
    graph = Graph(half_from_onnx(make(name)))
    for kind in ("Mul", "Add"):  # the first of each prepares pixels
        node = next(n for n in graph.nodes if n.op_type == kind)
        assert [graph.weights[i].data_type for i in node.input if i in graph.weights] == [TensorProto.FLOAT]


@EVERY_GRAPH
@pytest.mark.parametrize("make", [float_graph, quantized_graph])
def test_every_other_float_weight_is_half(make, name: str) -> None:
    graph = Graph(half_from_onnx(make(name)))
    floats = [w for w in graph.weights.values() if w.data_type == TensorProto.FLOAT]
    first = next(n for n in graph.nodes if n.op_type == "QuantizeLinear") if make is quantized_graph else None
    allowed = 2 + (first is not None)  # scale and shift of the pixels, and the scale of the Q that reads them
    assert len(floats) <= allowed
    assert not any(numpy_helper.to_array(w).ndim for w in floats)


def test_a_scale_has_the_same_value_in_half() -> None:
    before = Graph(quantized_graph("vgg"))
    after = Graph(half_from_onnx(before.model))
    for node in after.nodes:
        if node.op_type == "DequantizeLinear":
            twin = next(n for n in before.nodes if n.name == node.name)
            assert np.array_equal(after.weight(node.input[1]), before.weight(twin.input[1]))
            assert after.weight(node.input[1]).dtype == np.float16


def test_integers_are_left_alone() -> None:
    before, after = Graph(quantized_graph("vgg")), Graph(half_from_onnx(quantized_graph("vgg")))
    for name in (n for n, w in before.weights.items() if w.data_type in (TensorProto.INT8, TensorProto.INT64)):
        assert np.array_equal(before.weight(name), after.weight(name))


def test_a_weight_beyond_half_precision_is_refused_by_name() -> None:
    model = vgg_graph()
    weight = next(w for w in model.graph.initializer if len(w.dims) == 4)
    values = numpy_helper.to_array(weight).copy()
    values[0, 0, 0, 0] = 70_000
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    with pytest.raises(BadModel, match=f"70000 in {weight.name}; keep this model in fp32"):
        half_from_onnx(model)


def test_a_shape_computed_from_the_input_stays_an_integer(run_onnx) -> None:
    """`x.view(x.size(0), -1)` exports as Shape(faces) → … → Reshape."""
    writer = GraphWriter()
    features = writer.node("GlobalAveragePool", [writer.conv_relu(writer.pixels(), 1, 8)])
    batch = writer.node("Gather", [writer.node("Shape", ["faces"]), writer.constant("first", np.array([0]))])
    shape = writer.node("Concat", [batch, writer.constant("rest", np.array([-1]))], axis=0)
    flat = writer.node("Reshape", [features, shape])
    writer.nodes.append(helper.make_node(
        "Gemm", [flat, writer.floats("weight", CLASSES, 8), writer.floats("bias", CLASSES)], ["logits"], transB=1))
    model = parse_model(writer.model().SerializeToString(), "shape")
    assert largest_delta(run_onnx, model, half_from_onnx(model)) < 0.01


def test_the_float_graph_is_not_changed() -> None:
    model = float_graph("vgg")
    before = model.SerializeToString(deterministic=True)
    half_from_onnx(model)
    assert model.SerializeToString(deterministic=True) == before
