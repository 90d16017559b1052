"""Bias correction: after it, no layer's output is off on average, and nothing but biases has moved."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from tiny_graphs import GraphWriter, random_faces, vgg_graph

from calibration.bias_correction import channel_means, correct_biases
from calibration.observe import observe
from calibration.onnx_graph import parse_model
from calibration.quantize import plan, quantize
from calibration.ranges import scale_of
from runtime.agreement import kl_divergence
from runtime.errors import BadInput, MienError

FACES, HELD_OUT = random_faces(48), random_faces(96, seed=9)


def skewed() -> onnx.ModelProto:
    """small-vgg's topology with weights that all round down: 0.45 of a step above an integer."""
    model = parse_model(vgg_graph().SerializeToString(), "tiny")
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.ndim < 2:
            continue
        rows = values.reshape(len(values), -1).astype(np.float64)
        step = np.float64(2.0**-9)
        integers = np.clip(np.floor(rows / step), -100, 100) + 0.45
        integers[:, 0] = 127  # the channel's largest, so that its scale is the step
        weight.CopyFrom(numpy_helper.from_array((integers * step).reshape(values.shape).astype(np.float32),
                                                weight.name))
    return model


def scales_for(model: onnx.ModelProto) -> dict[str, np.float32]:
    return {name: scale_of(h.largest) for name, h in observe(model, plan(model).tensors, FACES).items()}


def errors_of(model: onnx.ModelProto, source: onnx.ModelProto, scales: dict[str, np.float32],
              faces: np.ndarray = FACES) -> list[float]:
    """Return the largest mean error of each layer that can have a bias, as a share of the layer's largest mean."""
    chosen = plan(model)
    rounded = quantize(source, chosen, scales, "gpu")
    outputs = [n.output[0] for n in model.graph.node if n.name in chosen.nodes and n.op_type != "MatMul"]
    wanted, found = channel_means(model, outputs, faces), channel_means(rounded, outputs, faces)
    return [float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(wanted, found)]


def logits_of(model: onnx.ModelProto, faces: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"faces": faces})[0])


def test_no_layer_is_off_on_average_any_more(quantized) -> None:
    model, scales = quantized.fp32, quantized.scales
    before = errors_of(model, model, scales)
    after = errors_of(model, correct_biases(model, scales, FACES), scales)
    assert max(before) > 1e-3 and max(after) < 1e-5


def test_weights_that_round_one_way_are_made_good_on_faces_it_has_not_seen() -> None:
    model = skewed()
    scales = scales_for(model)
    corrected = correct_biases(model, scales, FACES)
    wanted = logits_of(model, HELD_OUT)
    before, after = (logits_of(quantize(m, plan(m), scales, "gpu"), HELD_OUT) for m in (model, corrected))
    assert errors_of(model, corrected, scales, HELD_OUT)[-1] < errors_of(model, model, scales, HELD_OUT)[-1] / 5
    assert kl_divergence(wanted, after).mean() < kl_divergence(wanted, before).mean() / 3
    assert (after.argmax(1) == wanted.argmax(1)).mean() >= (before.argmax(1) == wanted.argmax(1)).mean()


def test_nothing_but_biases_moves(quantized) -> None:
    corrected = correct_biases(quantized.fp32, quantized.scales, FACES)
    moved = {w.name for w, v in zip(quantized.fp32.graph.initializer, corrected.graph.initializer) if w != v}
    biases = {n.input[2] for n in quantized.fp32.graph.node if n.name in quantized.plan.nodes and len(n.input) > 2}
    assert moved and moved <= biases
    assert [n.name for n in corrected.graph.node] == [n.name for n in quantized.fp32.graph.node]


def bare_graph() -> onnx.ModelProto:
    """One convolution without a bias, and two that share one."""
    w = GraphWriter()
    x = w.node("Relu", [w.node("Conv", [w.pixels(), w.floats("weight", 8, 1, 3, 3)], pads=[1] * 4)])
    shared = w.floats("bias", 8)
    for _ in range(2):
        x = w.node("Relu", [w.node("Conv", [x, w.floats("weight", 8, 8, 3, 3), shared], pads=[1] * 4)])
    w.classify(w.mean(x, 2, 3), 8)
    return parse_model(w.model().SerializeToString(), "bare")


def test_a_layer_without_a_bias_gets_one_and_a_shared_one_is_divided() -> None:
    model = bare_graph()
    scales = scales_for(model)
    corrected = correct_biases(model, scales, FACES)
    biases = [n.input[2] for n in corrected.graph.node if n.op_type in ("Conv", "Gemm")]
    assert len(set(biases)) == 4
    assert max(errors_of(model, corrected, scales)) < 1e-5


def test_a_shared_bias_may_have_the_name_of_one_that_is_made() -> None:
    model = bare_graph()
    first, second = (n for n in model.graph.node if n.op_type == "Conv" and len(n.input) > 2)
    name = f"{first.name}_bias"
    next(w for w in model.graph.initializer if w.name == first.input[2]).name = name
    first.input[2] = second.input[2] = name
    scales = scales_for(model)
    corrected = correct_biases(model, scales, FACES)
    assert len({n.input[2] for n in corrected.graph.node if n.op_type in ("Conv", "Gemm")}) == 4
    assert max(errors_of(model, corrected, scales)) < 1e-5


def test_means_do_not_depend_on_how_faces_fall_into_batches(quantized) -> None:
    outputs = [n.output[0] for n in quantized.fp32.graph.node if n.name in quantized.plan.nodes]
    together = channel_means(quantized.fp32, outputs, FACES[:40])
    one, other = (channel_means(quantized.fp32, outputs, part) for part in (FACES[:7], FACES[7:40]))
    assert all(np.allclose(a, (7 * b + 33 * c) / 40, atol=1e-5) for a, b, c in zip(together, one, other))


def test_without_a_face_nothing_is_corrected(quantized) -> None:
    with pytest.raises(BadInput, match="at least one calibration face"):
        correct_biases(quantized.fp32, quantized.scales, FACES[:0])


def test_a_layer_that_is_not_finite_is_named() -> None:
    model = bare_graph()
    scales = scales_for(model)
    bias = next(w for w in model.graph.initializer if w.name.startswith("bias"))
    bias.CopyFrom(numpy_helper.from_array(np.full(8, np.inf, np.float32), bias.name))
    with pytest.raises(MienError, match="NaN or infinity in Conv_5_out"):
        correct_biases(model, scales, FACES[:4])


def test_a_bias_that_is_computed_is_not_replaced_but_refused() -> None:
    model = bare_graph()
    scales = scales_for(model)
    conv = next(n for n in model.graph.node if n.op_type == "Conv" and len(n.input) > 2)
    model.graph.node.insert(0, onnx.helper.make_node("Identity", [conv.input[2]], ["computed"], name="compute"))
    conv.input[2] = "computed"
    with pytest.raises(BadInput, match=f"found computed, .*--keep-float {conv.name}"):
        correct_biases(model, scales, FACES[:4])
