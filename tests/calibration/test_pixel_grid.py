"""Pixels on INT8's own grid: which scalings have one, that nothing is lost there, and that padding means the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from tiny_graphs import GraphWriter, random_faces

from calibration.observe import observe
from calibration.onnx_graph import Graph, parse_model
from calibration.pixel_grid import choose_scales, choose_thresholds, pixel_grid
from calibration.quantize import plan, quantize
from export.half_from_onnx import half_from_onnx
from runtime.errors import BadInput

EVERY_PIXEL = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)


def scaled(change: Callable[[GraphWriter, str], str]) -> onnx.ModelProto:
    """A convolution, ReLU and a Gemm behind pixels that were scaled like this."""
    w = GraphWriter()
    x = change(w, w.node("Cast", ["faces"], to=TensorProto.FLOAT))
    w.classify(w.mean(w.conv_relu(x, 1, 8), 2, 3), 8)
    return parse_model(w.model().SerializeToString(), "tiny")


def number(w: GraphWriter, value: float) -> str:
    return w.constant("number", np.float32(value))


def normalized(mean: float, deviation: float) -> onnx.ModelProto:
    """(pixels / 255 - mean) / deviation, as networks have it."""
    return scaled(lambda w, x: w.node("Div", [w.node("Sub", [w.node("Div", [x, number(w, 255)]), number(w, mean)]),
                                              number(w, deviation)]))


def run(model: onnx.ModelProto, faces: np.ndarray, tensor: str = "logits", kind: int = TensorProto.FLOAT) -> np.ndarray:
    """Run every node as written, up to any tensor of that kind."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    del exposed.graph.output[:]
    exposed.graph.output.append(onnx.helper.make_tensor_value_info(tensor, kind, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(exposed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([tensor], {"faces": faces})[0])


def rounded(model: onnx.ModelProto, form: str = "cpu") -> onnx.ModelProto:
    """Calibrate on dark faces, whose own range would not hold bright ones."""
    chosen = plan(model)
    histograms = observe(model, chosen.tensors, random_faces(8) // 2)
    scales = choose_scales(model, histograms, "percentile", 99.9)
    if form == "half":
        return half_from_onnx(quantize(model, chosen, scales, "gpu"))
    return quantize(model, chosen, scales, "gpu" if form == "gpu" else "cpu")


@pytest.mark.parametrize(("mean", "deviation", "zero"), [
    (0.5077, 0.2551, 129),  # FER2013's own: 129.46
    (0.5, 0.5, 128), (0.5, 1.0, 128), (0.498, 0.25, 127), (128 / 255, 64 / 255, 128)])
def test_a_scaling_around_the_middle_has_a_grid(mean: float, deviation: float, zero: int) -> None:
    grid = pixel_grid(Graph(normalized(mean, deviation)))
    assert grid is not None and grid.zero == zero
    assert float(np.float16(grid.scale)) == float(grid.scale) == pytest.approx(1 / 255 / deviation, rel=1e-3)
    assert abs(grid.shift) <= 0.51 * grid.scale


def test_of_two_pixels_as_near_the_one_that_clips_nothing_is_zero() -> None:
    model = scaled(lambda w, x: w.node("Add", [w.node("Mul", [x, number(w, 1 / 127.5)]), number(w, -1)]))  # -1 to 1
    grid = pixel_grid(Graph(model))
    q = next(n for n in rounded(model).graph.node if n.op_type == "QuantizeLinear")
    assert grid.zero == 128 and q.input[0] == grid.tensor
    found = run(rounded(model), EVERY_PIXEL, q.output[0], TensorProto.INT8)
    assert np.array_equal(np.unique(found), np.arange(-128, 128))


@pytest.mark.parametrize("form", ["cpu", "gpu", "half"])
@pytest.mark.parametrize("mean", [0.5077, 0.5, 0.498])
def test_the_integers_are_the_pixels(mean: float, form: str) -> None:
    model = normalized(mean, 0.2551)
    grid = pixel_grid(Graph(model))
    made = rounded(model, form)
    q = next(n for n in made.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == grid.tensor)
    found = run(made, EVERY_PIXEL, q.output[0], TensorProto.INT8).astype(int).reshape(-1)
    assert np.array_equal(found, np.clip(np.arange(256) - grid.zero, -128, 127))


def test_the_first_layer_departs_by_its_own_weights_alone() -> None:
    model = normalized(0.5077, 0.2551)
    first = next(n for n in model.graph.node if n.op_type == "Conv")
    made, faces = rounded(model), np.maximum(random_faces(16, seed=3), 1)  # black counts as 1
    dq = Graph(made).producers[next(n for n in made.graph.node if n.name == first.name).input[1]]
    weights = Graph(made).weight(dq.input[0]) * Graph(made).weight(dq.input[1]).reshape(-1, 1, 1, 1)
    floats = onnx.ModelProto()
    floats.CopyFrom(model)
    kernel = next(w for w in floats.graph.initializer if w.name == first.input[1])
    kernel.CopyFrom(onnx.numpy_helper.from_array(weights.astype(np.float32), kernel.name))
    apart = np.abs(run(floats, faces, first.output[0]) - run(made, faces, first.output[0]))
    level = float(pixel_grid(Graph(model)).scale) * np.abs(weights).sum(axis=(1, 2, 3)).reshape(1, -1, 1, 1)
    # half precision holds the scale to 2⁻¹¹, which is 0.06 of a level at white; padding is up to half a level off
    assert (apart[..., 1:-1, 1:-1] <= 0.07 * level).all() and (apart <= 0.57 * level).all()
    assert apart.max() > 0


def test_padding_stands_for_the_same_pixel_within_half_a_level() -> None:
    grid = pixel_grid(Graph(normalized(0.5077, 0.2551)))
    padded = grid.zero - grid.shift / float(grid.scale)  # the pixel whose own value is 0
    assert abs(padded - 0.5077 * 255) < 0.1 and abs(padded - grid.zero) <= 0.5


@pytest.mark.parametrize("change", [
    lambda w, x: w.node("Mul", [x, number(w, 1 / 255)]),  # 0–1: black is 0, and so is the padding
    lambda w, x: w.node("Sub", [w.node("Mul", [x, number(w, 1 / 64)]), number(w, 1.8)]),  # zero at 115
    lambda w, x: w.node("Sub", [number(w, 2), w.node("Mul", [x, number(w, 1 / 64)])]),  # upside down
    lambda w, x: w.node("Add", [w.node("Mul", [x, number(w, -1 / 64)]), number(w, 2)]),
    lambda w, x: w.node("Add", [w.node("Mul", [x, number(w, 1e-6)]), number(w, -128e-6)]),  # no full-precision half
    lambda w, x: w.node("Sub", [w.node("Mul", [x, number(w, 1e6)]), number(w, 128e6)]),  # no half at all
    lambda w, x: w.node("Mul", [x, number(w, 0)]),
    lambda w, x: w.node("Relu", [w.node("Sub", [x, number(w, 128)])]),  # what reads it is no convolution
    lambda w, x: x,  # not scaled at all
])
def test_other_scalings_stay_as_they_are(change: Callable[[GraphWriter, str], str]) -> None:
    model = scaled(change)
    assert pixel_grid(Graph(model)) is None
    histograms = observe(model, plan(model).tensors, random_faces(8))
    assert choose_thresholds(model, histograms, "max", 100) == {name: h.largest for name, h in histograms.items()}


def test_a_scaling_by_channel_stays_as_it_is() -> None:
    model = scaled(lambda w, x: w.node("Sub", [x, w.constant("by_row", np.linspace(127, 128, 16, dtype=np.float32))]))
    assert pixel_grid(Graph(model)) is None


def test_pixels_that_someone_else_reads_stay_as_they_are() -> None:
    w = GraphWriter()
    x = w.node("Sub", [w.node("Cast", ["faces"], to=TensorProto.FLOAT), number(w, 128)])
    w.classify(w.node("Add", [w.mean(w.conv_relu(x, 1, 8), 2, 3), w.mean(x, 2, 3)]), 8)
    assert pixel_grid(Graph(parse_model(w.model().SerializeToString(), "tiny"))) is None


def test_other_scales_and_a_first_layer_in_float_leave_the_graph_alone() -> None:
    model = normalized(0.5077, 0.2551)
    grid = pixel_grid(Graph(model))
    histograms = observe(model, plan(model).tensors, random_faces(8))
    scales = choose_scales(model, histograms, "max", 100)
    other = quantize(model, plan(model), scales | {grid.tensor: np.float32(0.0625)}, "cpu")
    assert set(grid.between) <= {n.name for n in other.graph.node}
    kept = plan(model, grid.layers)
    mixed = quantize(model, kept, {name: scales[name] for name in kept.tensors}, "cpu")
    assert set(grid.between) <= {n.name for n in mixed.graph.node}
    assert not set(grid.between) <= {n.name for n in quantize(model, plan(model), scales, "cpu").graph.node}


def test_a_bias_that_another_layer_reads_is_not_moved_for_it() -> None:
    w = GraphWriter()
    x = w.node("Sub", [w.node("Cast", ["faces"], to=TensorProto.FLOAT), number(w, 127.6)])
    x = w.node("Mul", [x, number(w, 1 / 64)])
    bias = w.floats("bias", 8)
    x = w.node("Relu", [w.node("Conv", [x, w.floats("weight", 8, 1, 3, 3), bias], pads=[1] * 4)])
    x = w.node("Relu", [w.node("Conv", [x, w.floats("weight", 8, 8, 3, 3), bias], pads=[1] * 4)])
    w.classify(w.mean(x, 2, 3), 8)
    model = parse_model(w.model().SerializeToString(), "tiny")
    made = Graph(rounded(model))
    first, second = (n for n in made.nodes if n.op_type == "Conv")
    assert second.input[2] == bias and np.array_equal(made.weight(bias), Graph(model).weight(bias))
    assert first.input[2] != bias and not np.array_equal(made.weight(first.input[2]), made.weight(bias))
    faces = random_faces(16, seed=4)
    assert np.abs(run(made.model, faces) - run(model, faces)).max() < 0.03


def test_a_bias_named_like_its_neighbours_layer_is_not_overwritten() -> None:
    w = GraphWriter()
    x = w.node("Sub", [w.node("Cast", ["faces"], to=TensorProto.FLOAT), number(w, 127.6)])
    x = w.node("Mul", [x, number(w, 1 / 64)])
    for inputs, outputs in ((1, 8), (8, 8)):
        conv = w.node("Conv", [x, w.floats("weight", outputs, inputs, 3, 3), "first_bias"], pads=[1] * 4)
        w.nodes[-1].name = "first" if inputs == 1 else "second"
        x = w.node("Relu", [conv])
    w.weights.append(onnx.numpy_helper.from_array(np.linspace(-1, 1, 8, dtype=np.float32), "first_bias"))
    w.classify(w.mean(x, 2, 3), 8)
    made = Graph(rounded(parse_model(w.model().SerializeToString(), "tiny")))
    first, second = (n for n in made.nodes if n.op_type == "Conv")
    assert second.input[2] == "first_bias" != first.input[2]
    assert np.array_equal(made.weight("first_bias"), np.linspace(-1, 1, 8, dtype=np.float32))


def test_a_scaling_that_repeats_one_channel_for_three_still_does() -> None:
    def thrice(w: GraphWriter, value: float) -> str:
        return w.constant("thrice", np.full((1, 3, 1, 1), value, np.float32))

    w = GraphWriter()
    x = w.node("Mul", [w.node("Cast", ["faces"], to=TensorProto.FLOAT), thrice(w, 1 / 64)])
    w.classify(w.mean(w.conv_relu(w.node("Add", [x, thrice(w, -2)]), 3, 8), 2, 3), 8)
    model = parse_model(w.model().SerializeToString(), "tiny")
    made, grid = rounded(model, "half"), pixel_grid(Graph(model))
    found = run(made, EVERY_PIXEL, grid.tensor)
    assert found.shape == (1, 3, 16, 16) and np.array_equal(found, run(model, EVERY_PIXEL, grid.tensor))
    assert run(made, EVERY_PIXEL).shape == (1, 5)


def test_a_first_layer_in_float_has_an_observed_threshold() -> None:
    model = normalized(0.5077, 0.2551)
    grid = pixel_grid(Graph(model))
    histograms = observe(model, plan(model).tensors, random_faces(8))
    found = choose_thresholds(model, histograms, "max", 100, plan(model, grid.layers).nodes)
    assert found[grid.tensor] == histograms[grid.tensor].largest
    assert choose_thresholds(model, histograms, "max", 100, plan(model).nodes)[grid.tensor] == grid.threshold


def test_a_wrong_method_is_refused_as_before() -> None:
    model = normalized(0.5, 0.5)
    histograms = observe(model, plan(model).tensors, random_faces(2))
    with pytest.raises(BadInput, match="percentile of 50"):
        choose_thresholds(model, histograms, "percentile", 20)
