"""Asking an ONNX graph who makes and who reads what."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from tiny_graphs import GraphWriter, tokens_graph, vgg_graph

from calibration.onnx_graph import Graph, multiply_adds, parse_model, rebuild
from runtime.errors import BadModel


def test_producers_and_readers_follow_the_edges() -> None:
    graph = Graph(vgg_graph())
    relu = next(n for n in graph.nodes if n.op_type == "Relu")
    assert graph.producers[relu.input[0]].op_type == "Conv"
    assert [n.op_type for n in graph.reads(relu.output[0])] == ["Conv"]
    assert graph.reads("logits") == [] and graph.outputs == {"logits"}


def test_a_nodes_missing_name_is_given() -> None:
    model = vgg_graph()
    for node in model.graph.node:
        node.name = ""
    names = [n.name for n in parse_model(model.SerializeToString(), "m.onnx").graph.node]
    assert all(names) and len(set(names)) == len(names)


def test_names_that_are_shared_become_different_and_others_stay() -> None:
    model = vgg_graph()
    names = ["same", "", "Conv_1", "same", "same_3", "same"]
    for node, name in zip(model.graph.node, names):
        node.name = name
    found = [n.name for n in parse_model(model.SerializeToString(), "m.onnx").graph.node]
    assert len(set(found)) == len(found)
    assert [found[place] for place in (0, 2, 4)] == ["same", "Conv_1", "same_3"]
    assert found[len(names):] == [n.name for n in model.graph.node][len(names):]


@pytest.mark.parametrize("content", [b"", b"\x08\x07", b"no protobuf at all", vgg_graph().SerializeToString()[:-100]])
def test_bytes_that_are_no_graph_are_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(BadModel, match=r"valid ONNX graph in m\.onnx") as caught:
        parse_model(content, "m.onnx")
    assert "\n" not in str(caught.value)


def test_rebuilding_drops_weights_that_nobody_reads() -> None:
    model = vgg_graph()
    spare = onnx.numpy_helper.from_array(np.zeros(9, np.float32), "spare")
    rebuilt = rebuild(model, list(model.graph.node), [*model.graph.initializer, spare])
    assert {w.name for w in rebuilt.graph.initializer} == {w.name for w in model.graph.initializer}


def test_multiply_adds_are_counted_by_hand() -> None:
    convolutions = 16 * 16 * 8 * 1 * 9 + 16 * 16 * 8 * 8 * 9 + 8 * 8 * 16 * 8 * 9
    assert multiply_adds(vgg_graph()) == convolutions + 16 * 5


def test_multiply_adds_of_a_depth_wise_convolution_are_one_filter_a_channel() -> None:
    writer = GraphWriter()
    x = writer.conv(writer.conv(writer.pixels(), 1, 8, size=1), 8, 8, group=8)
    writer.classify(writer.mean(x, 2, 3), 8)
    assert multiply_adds(writer.model()) == 16 * 16 * 8 + 16 * 16 * 8 * 9 + 8 * 5


def test_multiply_adds_of_a_matmul_are_those_of_every_row() -> None:
    assert multiply_adds(tokens_graph()) == 16 * 16 * 8 * 9 + 8 * 64 * 16 + 8 * 16 * 12 + 8 * 5
