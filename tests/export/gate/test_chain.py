"""The chain: every link has its row, and the first layer that departs is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.gate.chain import path_to
from export.gate.first_layer import first_departure, layer_departures, sqnr
from export.model_from_checkpoint import generated_faces
from runtime.card import Model


@pytest.mark.parametrize(("graph", "wanted"), [
    ("fp32", ["PyTorch", "fp32"]), ("fp16", ["PyTorch", "fp32", "fp16"]),
    ("int8-gpu", ["PyTorch", "fp32", "int8", "int8-gpu"])])
def test_a_graph_has_its_way_from_pytorch(graph: str, wanted: list[str]) -> None:
    assert path_to(graph) == wanted


def test_a_walk_has_a_row_for_every_link(shipped: Model, check: Callable) -> None:
    report = check(shipped, chain=True)
    assert [(link.name, link.against) for link in report.links if link.judgement] == [
        ("fp16.onnx", "fp32.onnx"), ("int8.onnx", "fp32.onnx"), ("int8-gpu.onnx", "int8.onnx")]
    recorded = [link for link in report.links if link.golden]
    assert [link.name for link in recorded] == ["fp32.onnx", "fp16.onnx", "int8.onnx", "int8-gpu.onnx"]
    assert report.links[0].name == "frame → crop → answer" and all(link.verdict != "fail" for link in report.links)


def test_a_sound_link_that_is_bisected_names_its_noisiest_layer(shipped: Model, check: Callable) -> None:
    link = check(shipped, bisect=True).links[-1]
    assert link.layer is not None and not link.layer.departs and "no layer departs, the noisiest is" in link.text


def test_a_sound_check_walks_no_further_than_it_must(shipped: Model, check: Callable) -> None:
    assert [link.name for link in check(shipped).links] == ["frame → crop → answer", "int8.onnx"]


@pytest.mark.parametrize(("before", "after"), [("fp32", "fp16"), ("fp32", "int8"), ("int8", "int8-gpu")])
def test_no_layer_of_the_shipped_model_departs(shipped: Model, before: str, after: str) -> None:
    faces = generated_faces(shipped.card.input, 32)
    layers = layer_departures(shipped.read_graph(before), shipped.read_graph(after), faces)
    assert len(layers) >= 10 and not any(layer.departs for layer in layers)


@pytest.mark.parametrize("layer", [0, 3, 8])
def test_the_damaged_layer_is_named(shipped: Model, layer: int) -> None:
    model = onnx.load_model_from_string(shipped.read_graph("fp32"))
    name = [n.input[1] for n in model.graph.node if n.op_type == "Conv"][layer]
    weight = next(w for w in model.graph.initializer if w.name == name)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(2), name))
    faces = generated_faces(shipped.card.input, 8)
    found = first_departure(shipped.read_graph("fp32"), model.SerializeToString(), faces)
    assert found is not None and found.layer == name.removesuffix(".weight")


def test_a_layer_that_is_not_finite_departs() -> None:
    assert np.isnan(sqnr(np.ones(3), np.array([1, np.nan, 1])))
    assert sqnr(np.ones(3), np.ones(3)) == pytest.approx(300) and sqnr(np.ones(4), np.full(4, 1.1)) == pytest.approx(20)


@pytest.mark.parametrize("graph", ["fp16", "int8"])
def test_a_side_graph_that_is_not_finite_is_a_link_that_fails(shipped: Model, changed: Callable, check: Callable,
                                                              graph: str) -> None:
    broken = onnx.load_model_from_string(shipped.read_graph(graph))
    broken.graph.node[-1].output[0] = "before"
    broken.graph.node.append(onnx.helper.make_node("Sqrt", ["before"], ["logits"]))  # NaN of what is negative
    report = check(changed({graph: broken}), "fp16" if graph == "int8" else "int8", chain=True)
    assert report.headline.startswith(f"FAILED: {graph}.onnx departs from fp32.onnx: ")
    assert "images have outputs that are not finite" in report.headline
    assert {link.name for link in report.links if link.verdict == "fail"} == {f"{graph}.onnx"}
