"""What rounding explains: it covers a sound INT8 graph, and no clipped range, no scale off by two."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper
from tiny_graphs import GraphWriter, random_faces
from tiny_model import TinyNetwork

from calibration.observe import observe
from calibration.onnx_graph import Graph, parse_model
from calibration.pixel_grid import choose_scales, pixel_grid
from calibration.quantize import plan, quantize
from export.gate.rounding import LayerOnFace, layers_on_face
from runtime.card import Model
from runtime.errors import BadInput

LAYER, CHANNEL = "features.6.0", 5


@pytest.fixture(scope="module")
def face(shipped: Model) -> np.ndarray:
    """A real face that clips nothing."""
    graphs = shipped.read_graph("fp32"), shipped.read_graph("int8")
    return next(face[None] for face in shipped.read_golden().faces
                if not any(layer.departs for layer in layers_on_face(*graphs, face[None])))


def damaged(model: Model, name: str, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """Return int8.onnx with one constant changed."""
    graph = parse_model(model.read_graph("int8"), "int8")
    weight = next(w for w in graph.graph.initializer if w.name == name)
    value = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(np.asarray(change(value)).astype(value.dtype).reshape(value.shape), name))
    return bytes(graph.SerializeToString())


def step_of(model: Model, layer: str) -> str:
    """Return the name of the scale that a layer's output is rounded with."""
    graph = parse_model(model.read_graph("int8"), "int8").graph
    output = next(n.output[0] for n in graph.node if n.op_type == "Conv" and n.input[1].startswith(layer))
    return str(next(n.input[1] for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == output))


def on_face(model: Model, face: np.ndarray, int8: bytes) -> dict[str, LayerOnFace]:
    return {layer.layer: layer for layer in layers_on_face(model.read_graph("fp32"), int8, face)}


def first_of(layers: dict[str, LayerOnFace]) -> LayerOnFace | None:
    return next((layer for layer in layers.values() if layer.departs), None)


def test_rounding_explains_all_of_a_sound_graph_but_what_is_clipped(shipped: Model) -> None:
    faces = shipped.read_golden().faces
    layers = [layer for place in (0, 10, 20)
              for layer in layers_on_face(shipped.read_graph("fp32"), shipped.read_graph("int8"), faces[place, None])]
    assert [layer.layer for layer in layers if layer.departs and not layer.clipped] == []
    assert max(layer.beyond for layer in layers if not layer.clipped) > 0.5  # and is no bound that anything meets


def test_a_channel_whose_scale_is_off_by_two_is_named(shipped: Model, face: np.ndarray) -> None:
    def twice(scales: np.ndarray) -> np.ndarray:
        return scales * np.where(np.arange(len(scales)) == CHANNEL, 2, 1)

    layers = on_face(shipped, face, damaged(shipped, f"{LAYER}.weight_s", twice))
    first = first_of(layers)
    assert first is not None and (first.layer, first.channel, first.clipped) == (LAYER, CHANNEL, False)
    assert not layers["features.7.0"].departs, "what an earlier layer lost is not this one's"
    assert layers["features.7.0"].sqnr < on_face(shipped, face, shipped.read_graph("int8"))["features.7.0"].sqnr


def test_a_range_that_is_too_small_is_called_clipped(shipped: Model, face: np.ndarray) -> None:
    layers = on_face(shipped, face, damaged(shipped, step_of(shipped, LAYER), lambda scale: scale / 4))
    assert layers[LAYER].departs and layers[LAYER].clipped and layers[LAYER].beyond > 2


def test_pixels_that_are_clipped_are_the_first_layers(shipped: Model, face: np.ndarray) -> None:
    graph = parse_model(shipped.read_graph("int8"), "int8").graph
    scale = next(n.input[1] for n in graph.node if n.op_type == "QuantizeLinear")
    first = first_of(on_face(shipped, face, damaged(shipped, scale, lambda value: value / 4)))
    assert first is not None and first.layer == "features.0.0" and first.beyond > 2


def test_the_maps_are_the_channels_own(shipped: Model, face: np.ndarray) -> None:
    layer = on_face(shipped, face, shipped.read_graph("int8"))[LAYER]
    assert layer.reference.shape == layer.engine.shape == (12, 12)
    assert np.abs(layer.engine / layer.step - np.rint(layer.engine / layer.step)).max() < 1e-3
    assert 0 < np.abs(layer.engine - layer.reference).max() <= layer.steps * layer.step * 1.001


def test_an_output_that_is_not_a_number_departs(shipped: Model, face: np.ndarray) -> None:
    broken = damaged(shipped, f"{LAYER}.weight_bias", lambda bias: bias * np.nan)
    first = first_of(on_face(shipped, face, broken))
    assert first is not None and first.layer in (LAYER, "features.7.0")


def test_graphs_of_two_networks_are_refused(shipped: Model, face: np.ndarray) -> None:
    other = TinyNetwork.random().graph()
    other.graph.node[-1].output[0] = other.graph.output[0].name = "answers"
    with pytest.raises(BadInput, match="a layer in common"):
        layers_on_face(shipped.read_graph("fp32"), other.SerializeToString(), face)


@pytest.mark.parametrize("exact", [True, False])
def test_padding_on_the_grid_of_the_pixels_is_explained(exact: bool) -> None:
    """Weights above 0 alone add up what the padding is off by; a graph of other scales pads as FP32 does."""
    w = GraphWriter()
    x = w.node("Sub", [w.node("Cast", ["faces"], to=TensorProto.FLOAT), w.constant("mean", np.float32(129.46))])
    x = w.node("Mul", [x, w.constant("scale", np.float32(1 / 65))])
    weight = w.constant("weight", np.abs(w.random.normal(0, 0.3, (8, 1, 7, 7))).astype(np.float32))
    x = w.node("Relu", [w.node("Conv", [x, weight, w.floats("bias", 8)], pads=[3] * 4)])
    w.classify(w.mean(x, 2, 3), 8)
    model = parse_model(w.model().SerializeToString(), "tiny")
    scales = choose_scales(model, observe(model, plan(model).tensors, random_faces(32)), "max", 100)
    if not exact:
        scales[pixel_grid(Graph(model)).tensor] *= np.float32(1.0625)
    int8 = quantize(model, plan(model), scales, "gpu").SerializeToString()
    first = [layers_on_face(model.SerializeToString(), int8, np.maximum(face, 1)[None])[0] for face in random_faces(8)]
    assert 0.3 < max(layer.beyond for layer in first) <= 1
