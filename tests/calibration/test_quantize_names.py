"""What quantizing adds beside what is there: names that a graph has already, weights that a float layer reads too."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from tiny_graphs import GraphWriter, random_faces, run_as_written, vgg_graph

from calibration.observe import observe
from calibration.onnx_graph import Graph
from calibration.pixel_grid import choose_scales
from calibration.quantize import plan, quantize

FORMS = ("cpu", "gpu")
both_forms = pytest.mark.parametrize("form", FORMS)


def renamed(model: onnx.ModelProto, names: dict[str, str]) -> onnx.ModelProto:
    """The same graph with tensors and nodes called otherwise."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for node in other.graph.node:
        node.name = names.get(node.name, node.name)
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for weight in other.graph.initializer:
        weight.name = names.get(weight.name, weight.name)
    return other


def forms_of(model: onnx.ModelProto, keep_float: tuple[str, ...] = ()) -> dict[str, onnx.ModelProto]:
    chosen = plan(model, keep_float)
    scales = choose_scales(model, observe(model, chosen.tensors, random_faces(16)), "max", 100)
    return {form: quantize(model, chosen, scales, form) for form in FORMS}


@both_forms
def test_a_graph_whose_names_look_like_ours_keeps_its_values(form: str) -> None:
    """Names are anybody's in an imported graph; ours made way for none, so a stranger became a scale."""
    plain = vgg_graph()
    convs = [node for node in plain.graph.node if node.op_type == "Conv"]
    inner, second = convs[1].input[0], convs[1]
    weights = [weight.name for weight in plain.graph.initializer if weight.name not in second.input]
    ours = ["zero_point", f"{inner}_scale", f"{inner}_q", f"{inner}_dq", *(f"{second.input[1]}_{c}" for c in "qsz")]
    pixels = convs[0].input[0]
    ours += [f"{pixels}_zero", f"{pixels}_level", f"{pixels}_centred"]
    strange = renamed(plain, dict(zip(weights, ours)) | {plain.graph.node[0].name: f"{inner}/Q"})
    faces = random_faces(8, seed=7)
    wanted, found = (run_as_written(forms_of(model)[form], ["logits"], faces)["logits"] for model in (plain, strange))
    assert np.array_equal(wanted, found)


@both_forms
@pytest.mark.parametrize("kept", [0, 1])
def test_a_weight_that_two_layers_read_may_be_kept_float_for_one(form: str, kept: int) -> None:
    w = GraphWriter()
    x, weight = w.conv_relu(w.pixels(), 1, 8), w.floats("weight", 8, 8, 3, 3)
    for _ in range(2):
        x = w.node("Relu", [w.node("Conv", [x, weight, w.floats("bias", 8)], pads=[1] * 4)])
    w.classify(w.mean(x, 2, 3), 8)
    model = w.model()
    tied = [node.name for node in model.graph.node if weight in node.input]
    found = forms_of(model, (tied[kept],))[form]
    graph = Graph(found)
    reads = [node for node in graph.nodes if weight in node.input]
    assert [node.name for node in reads] == [tied[kept]]
    faces = random_faces(8, seed=7)
    wanted = run_as_written(model, ["logits"], faces)["logits"]
    assert np.abs(wanted - run_as_written(found, ["logits"], faces)["logits"]).max() < 0.1 * np.ptp(wanted)
