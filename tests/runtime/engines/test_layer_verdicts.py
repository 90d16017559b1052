"""Verdicts: what a layer may be called, and that no departure from the graph passes as asked."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspector_samples import engine, layer

from runtime.engines.inspector import parse_layers
from runtime.engines.layer_verdicts import AskedGraph, AskedTypes, JudgedLayer, count_verdicts, judge_layers

HALF, MIXED = frozenset(("half",)), frozenset(("half", "int8"))
ASKED = AskedGraph(
    {"conv": AskedTypes("half", HALF, "half"), "relu": AskedTypes("", HALF),
     "qconv": AskedTypes("int8", MIXED, "int8", frozenset(("q",))),
     "q": AskedTypes("", MIXED), "sigmoid": AskedTypes("", HALF), "conv_1": AskedTypes("half", HALF, "half"),
     "single": AskedTypes("float", frozenset(("float",)), "float"),
     "to_half": AskedTypes("", frozenset(("float", "half")))},
    frozenset((("float", "half"), ("half", "int8"))))
CONV = {"ParameterType": "Convolution", "TacticName": "sm80_xmma_fprop"}
UNTOLD = {"Name": "x", "Format/Datatype": "N/A due to dynamic shapes"}
HALF_WEIGHTS, INT8_WEIGHTS = {"Weights": {"Type": "Half", "Count": 9}}, {"Weights": {"Type": "Int8", "Count": 9}}


def judge(told: dict) -> JudgedLayer:
    (judged,) = judge_layers(parse_layers(engine([told]), "f"), ASKED)
    return judged


@pytest.mark.parametrize("told", [
    layer("conv + relu", "CaskConvolution", "half", "half", **CONV, **HALF_WEIGHTS),
    layer("conv + relu", "CaskConvolution", "half", "half", ("conv", "relu"), **CONV),
    layer("x", "CaskConvolution", "int8", "int8", ("qconv",), **CONV, **INT8_WEIGHTS),
    layer("x", "CaskConvolution", "int8", "half", ("qconv",), **CONV, **INT8_WEIGHTS),
    layer("x", "gemm", "int8", "half", ("q", "qconv")),
    layer("x", "kgen", "half", "half", ("sigmoid", "relu")),
    layer("x", "kgen", "half", "int8", ("sigmoid", "q")),
    layer("Reformatting CopyNode for Input Tensor 0 to conv", "Reformat", "half", "half"),
    layer("Reformatting CopyNode for Input Tensor 0 to conv", "Reformat", "float", "half"),
    layer("to_half", "Reformat", "float", "half", ("to_half",))])
def test_what_the_graph_asks_for_is_as_asked(told: dict) -> None:
    assert (judge(told).verdict, judge(told).why) == ("as asked", "")


@pytest.mark.parametrize(("told", "why"), [
    (layer("conv + relu", "CaskConvolution", "float", "float", **CONV), "float where the graph asks for half"),
    (layer("conv + relu", "CaskConvolution", "half", "float", **CONV), "float where the graph asks for half"),
    (layer("conv", "CaskConvolution", "int8", "int8", **CONV, **INT8_WEIGHTS), "int8 where the graph asks for half"),
    (layer("conv", "CaskConvolution", "half", "half", **CONV, **INT8_WEIGHTS), "int8 where the graph asks for half"),
    (layer("qconv", "CaskConvolution", "half", "half", **CONV, **INT8_WEIGHTS), "qconv reads half .* asks for int8"),
    (layer("qconv", "CaskConvolution", "int8", "int8", **CONV, **HALF_WEIGHTS), "qconv stores half .* weights in int8"),
    (layer("conv", "CaskConvolution", "half", "half", Weights={"Type": "Float", "Count": 9})
     | {"Inputs": [UNTOLD], "Outputs": [UNTOLD]}, "float where the graph asks for half"),
    (layer("single", "CaskConvolution", "float", "float", TacticName="sm80_xmma_fprop_tf32f32_tf32f32_f32"), "in TF32"),
    (layer("x", "kgen", "float", "half", ("sigmoid",)), "float where the graph asks for half"),
    (layer("Reformatting CopyNode for Output Tensor 0 to conv", "Reformat", "half", "float"), "turns half into float"),
    (layer("copy", "NoOp", "half", "uint8"), "turns half into uint8")])
def test_what_the_graph_does_not_ask_for_is_found(told: dict, why: str) -> None:
    judged = judge(told)
    assert judged.verdict == "not as asked"
    assert re.search(why, judged.why)


@pytest.mark.parametrize(("told", "why"), [
    (layer("{ForeignNode[conv...relu]}", "Myelin", "half", "half"), "Myelin"),
    (layer("{ForeignNode[conv...relu]}", "Myelin", "float", "float", ("conv",)), "Myelin"),
    (layer("x", "kgen", "half", "half", ("conv", "relu")), "how conv multiplies"),
    (layer("x", "fusion", "half", "half", ("q", "qconv")), "quantizes inside"),
    (layer("(Unnamed Layer* 3) [Shuffle]", "Shuffle", "half", "half"), "no node"),
    (layer("conv", "CaskConvolution", "half", "half", **CONV) | {"Outputs": [{"Name": "o"}]}, "leaves a type out"),
    (layer("conv", "CaskConvolution", "half", "half") | {"Inputs": [], "Outputs": []}, "no types")])
def test_what_is_not_told_is_opaque(told: dict, why: str) -> None:
    judged = judge(told)
    assert judged.verdict == "opaque" and why in judged.why


def test_a_name_alone_is_opaque() -> None:
    (judged,) = judge_layers(parse_layers(engine(["conv + relu"]), "f"), ASKED)
    assert judged.verdict == "opaque" and "DETAILED" in judged.why


def test_nodes_are_whole_names_in_the_graphs_order() -> None:
    assert judge(layer("conv_1 + relu", "CaskConvolution", "half", "half", **CONV)).nodes == ("relu", "conv_1")
    assert judge(layer("PWN(conv)", "CaskConvolution", "half", "half", **CONV)).nodes == ("conv",)


def test_shapes_and_places_have_no_precision() -> None:
    told = layer("x", "kgen", "half", "half", ("sigmoid",))
    told["Inputs"].append({"Name": "axes", "Format/Datatype": "Row major linear Int32"})
    assert judge(told).verdict == "as asked"


def test_every_verdict_is_counted_also_where_there_is_none() -> None:
    judged = judge(layer("conv", "CaskConvolution", "float", "half", **CONV))
    assert count_verdicts([judged, judged]) == {"as asked": 0, "opaque": 0, "not as asked": 2}


TYPES = st.sampled_from(["float", "half", "int8", "uint8"])


@given(TYPES, TYPES, st.sampled_from(["CaskConvolution", "kgen", "gemm", "fusion", "Reformat"]),
       st.sets(st.sampled_from(sorted(ASKED.nodes)), min_size=1))
def test_no_type_that_the_graph_does_not_ask_for_passes(reads: str, writes: str, kind: str, nodes: set[str]) -> None:
    judged = judge(layer("x", kind, reads, writes, tuple(sorted(nodes))))
    allowed = frozenset().union(*(ASKED.nodes[node].types for node in nodes))
    assert judged.verdict != "as asked" or {reads, writes} <= allowed
    assert judged.verdict == "not as asked" or {reads, writes} <= allowed
