"""What a graph asks of each node, and the verdict on engines that do it, or do something else."""

from __future__ import annotations

import numpy as np
import pytest
from inspector_samples import Schema, engine, faithful_layers, layer
from onnx import TensorProto, helper
from tiny_graphs import GraphWriter

from calibration.onnx_graph import parse_model
from export.asked_types import asked_types
from export.engine_from_onnx import judge_inspected
from runtime.card import Model
from runtime.engines.layer_verdicts import AskedTypes, count_verdicts
from runtime.errors import BadInput

PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
FORMS = {"fp32": "fp32", "fp16": "fp16", "int8": "int8-gpu"}


def graph_of(model: Model, precision: str):
    return parse_model(model.read_graph(FORMS[precision]), precision)


def judge(model: Model, precision: str, layers: list, schema: Schema = 10) -> dict[str, int]:
    return count_verdicts(judge_inspected(model, precision, "tensorrt", engine(layers, schema), "layers.json"))


@pytest.mark.parametrize(("precision", "type_", "types"), [
    ("fp32", "float", {"float"}), ("fp16", "half", {"half"}), ("int8", "int8", {"half", "int8"})])
def test_a_convolution_is_asked_for_in_its_graphs_precision(shipped: Model, precision: str, type_: str,
                                                            types: set[str]) -> None:
    asked = asked_types(graph_of(shipped, precision)).nodes
    products = [asked[name] for name in asked if name.startswith("node_Conv") or name == "node_linear"]
    assert len(products) == 11
    assert {product.multiplies for product in products} == {type_}
    assert {product.types for product in products} == {frozenset(types)}


def test_an_int8_convolution_names_the_q_that_makes_its_integers(shipped: Model) -> None:
    asked = asked_types(graph_of(shipped, "int8")).nodes
    assert asked["node_Conv_154"].quantizers == {"add_10/Q"} and asked["node_Conv_156"].quantizers == {"relu/Q"}


@pytest.mark.parametrize(("precision", "pairs"), [
    ("fp32", {("uint8", "float")}),
    ("fp16", {("uint8", "float"), ("float", "half"), ("half", "float")}),
    ("int8", {("uint8", "float"), ("float", "int8"), ("int8", "half"), ("half", "int8"), ("half", "float")})])
def test_the_conversions_are_those_of_cast_q_and_dq(shipped: Model, precision: str, pairs: set) -> None:
    assert asked_types(graph_of(shipped, precision)).conversions == pairs


def quantized_after(*kinds: str) -> dict[str, AskedTypes]:
    """Return what is asked of a graph: a convolution, these operators, Q, DQ, max pooling, the mean of places."""
    writer = GraphWriter()
    x = writer.conv(writer.pixels(), 1, 8)
    for kind in kinds:
        x = writer.pool(x) if kind == "MaxPool" else writer.node(kind, [x])
    q = writer.node("QuantizeLinear", [x, writer.constant("s", np.float32(0.1)),
                                       writer.constant("z", np.int8(0))])
    back = writer.node("DequantizeLinear", [q, writer.weights[-2].name, writer.weights[-1].name])
    writer.classify(writer.node("GlobalAveragePool", [writer.pool(back)]), 8)
    return dict(asked_types(writer.model()).nodes)


def test_int8_is_allowed_before_a_q_past_layers_that_commute_with_it() -> None:
    asked = quantized_after("Relu", "MaxPool")
    assert all("int8" in asked[name].types for name in asked if name.startswith(("Conv", "Relu", "MaxPool")))


def test_int8_is_allowed_behind_a_dq_past_layers_that_commute_with_it() -> None:
    asked = quantized_after()
    assert {"int8" in asked[name].types for name in asked if name.startswith(("MaxPool", "GlobalAverage"))} == {True}
    assert "int8" not in asked["classify"].types


def test_int8_is_not_allowed_before_a_layer_that_does_not_commute() -> None:
    asked = quantized_after("Relu", "Sigmoid")
    types = {name.partition("_")[0]: asked[name].types for name in asked}
    assert "int8" in types["Sigmoid"] and "int8" not in types["Relu"] and "int8" not in types["Conv"]


def test_weights_in_int8_alone_are_multiplied_as_the_data_come() -> None:
    weight = helper.make_tensor("w", TensorProto.INT8, [4, 4], [1] * 16)
    scale = helper.make_tensor("s", TensorProto.FLOAT, [], [0.1])
    zero = helper.make_tensor("z", TensorProto.INT8, [], [0])
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], name="dq"),
         helper.make_node("MatMul", ["x", "d"], ["y"], name="product")], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])], [weight, scale, zero])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    assert asked_types(model).nodes["product"].multiplies == "float"


@PRECISIONS
@pytest.mark.parametrize("schema", [10, 11])
def test_an_engine_that_does_what_the_shipped_graph_asks_is_as_asked(shipped: Model, precision: str,
                                                                    schema: Schema) -> None:
    layers = faithful_layers(graph_of(shipped, precision), precision, schema)
    counts = judge(shipped, precision, layers, schema)
    assert counts == {"as asked": len(layers), "opaque": 0, "not as asked": 0} and len(layers) >= 16


@pytest.mark.parametrize(("asked", "built"), [("fp16", "fp32"), ("int8", "fp32"), ("int8", "fp16"), ("fp32", "fp16")])
def test_an_engine_of_another_precision_is_found_out_at_every_product(shipped: Model, asked: str, built: str) -> None:
    """The trap: FP16 was asked for, FP32 was built, and nothing said so."""
    layers = faithful_layers(graph_of(shipped, built), built)
    assert judge(shipped, asked, layers)["not as asked"] >= 11


def test_one_convolution_left_in_half_is_found(shipped: Model) -> None:
    model = graph_of(shipped, "int8")
    layers = faithful_layers(model, "int8")
    wrong = next(i for i, told in enumerate(layers) if "node_Conv_160" in told["Name"])
    layers[wrong] = layer(layers[wrong]["Name"], "CaskConvolution", "half", "half", ("node_Conv_160",),
                          ParameterType="Convolution", Weights={"Type": "Half", "Count": 288})
    judged = judge_inspected(shipped, "int8", "tensorrt", engine(layers), "f")
    assert [one.nodes for one in judged if one.verdict == "not as asked"] == [("node_Conv_160",)]


def test_another_models_layers_are_refused(shipped: Model) -> None:
    told = engine([layer("backbone/Conv", "CaskConvolution", "half", "half"),
                   layer("Reformatting CopyNode for Input Tensor 0 to x", "Reformat", "half", "half")])
    with pytest.raises(BadInput, match=r"mien-light's fp16\.onnx in other\.json.*this model's engine"):
        judge_inspected(shipped, "fp16", "tensorrt", told, "other.json")
