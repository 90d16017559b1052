"""Equalization: the same float function, more even channels, and INT8 that says again what float says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from tiny_graphs import GRAPHS, GraphWriter, attention_graph, branching_graph, random_faces, vgg_graph

from calibration.channel_ranges import channel_ranges
from calibration.equalize import LEAST_SHARE, Pair, channel_factors, equalize, find_pairs
from calibration.observe import observe
from calibration.onnx_graph import parse_model
from calibration.quantize import plan, quantize
from calibration.ranges import scale_of
from runtime.agreement import kl_divergence
from runtime.card import load_model
from runtime.errors import BadInput

FACES = random_faces(32)


def parsed(model: onnx.ModelProto) -> onnx.ModelProto:
    return parse_model(model.SerializeToString(), "tiny")


def logits_of(model: onnx.ModelProto, faces: np.ndarray = FACES) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"faces": faces})[0], np.float64)


def ranges_of(model: onnx.ModelProto, faces: np.ndarray = FACES) -> dict[str, np.ndarray]:
    return channel_ranges(model, [t for pair in find_pairs(model) for t in pair.tensors], faces)


def int8_of(model: onnx.ModelProto) -> onnx.ModelProto:
    chosen = plan(model)
    scales = {name: scale_of(h.largest) for name, h in observe(model, chosen.tensors, FACES).items()}
    return quantize(model, chosen, scales, "gpu")


def plant(model: onnx.ModelProto, factors: list[np.ndarray]) -> onnx.ModelProto:
    """Make the channels between each pair's layers uneven by hand; groups are 1 or depth-wise here."""
    planted = onnx.ModelProto()
    planted.CopyFrom(model)
    weights = {w.name: w for w in planted.graph.initializer}
    nodes = {n.name: n for n in planted.graph.node}

    def multiply(name: str, by: np.ndarray) -> None:
        values = numpy_helper.to_array(weights[name]) * by
        weights[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))

    for pair, factor in zip(find_pairs(model), factors):
        first, second = nodes[pair.first], nodes[pair.second]
        rank, ways = (len(weights[n.input[1]].dims) for n in (first, second))
        channels = weights[first.input[1]].dims[0]
        each = np.resize(factor, channels)
        multiply(first.input[1], each.reshape(-1, *[1] * (rank - 1)))
        multiply(first.input[2], each)
        multiply(second.input[1], (1 / each).reshape(*((-1, 1) if pair.free else (1, -1)), *[1] * (ways - 2)))
    return planted


@pytest.mark.parametrize("name", ["vgg", "attention"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(powers=st.lists(st.floats(-6, 6), min_size=5, max_size=16), alpha=st.floats(0, 1))
def test_the_float_function_stays_whatever_the_factors(name: str, powers: list[float], alpha: float) -> None:
    model = parsed(GRAPHS[name]())
    uneven = plant(model, [np.exp2(np.array(powers))] * len(find_pairs(model)))
    faces = FACES[:8]
    wanted = logits_of(model, faces)
    assert np.allclose(logits_of(uneven, faces), wanted, atol=2e-4 * np.ptp(wanted))  # the planting itself
    even = equalize(uneven, ranges_of(uneven, faces), alpha)
    assert np.allclose(logits_of(even, faces), wanted, atol=2e-4 * np.ptp(wanted))


def test_every_pair_is_found_and_none_that_is_branched() -> None:
    pairs = find_pairs(parsed(vgg_graph()))
    assert [(p.tensors, p.free) for p in pairs] == [
        (("Relu_4_out",), False), (("Relu_6_out",), False), (("Relu_9_out", "ReduceMean_10_out"), False)]
    assert pairs[-1].second == "classify"
    assert [p.free for p in find_pairs(parsed(attention_graph()))] == [True, False, False, False]
    assert find_pairs(parsed(branching_graph())) == ()


def test_before_a_depth_wise_layer_every_channel_gets_the_whole_range() -> None:
    model = parsed(attention_graph())
    before = ranges_of(model)
    after = ranges_of(equalize(model, before))
    tensor = next(p for p in find_pairs(model) if p.free).tensors[0]
    assert np.ptp(before[tensor]) > 0.2 * before[tensor].max()
    assert np.allclose(after[tensor], before[tensor].max(), rtol=1e-4)


def test_before_a_dense_layer_a_channels_share_becomes_its_root() -> None:
    model = parsed(vgg_graph())
    before = ranges_of(model)
    after = ranges_of(equalize(model, before, 0.5))
    for tensor in ("Relu_4_out", "Relu_6_out"):
        shares = before[tensor] / before[tensor].max()
        assert np.allclose(after[tensor] / after[tensor].max(), np.sqrt(shares), rtol=1e-4)


@pytest.mark.parametrize("graph", [vgg_graph, attention_graph])
def test_equalization_repairs_uneven_channels(graph) -> None:
    model = parsed(graph())
    # one channel 300 times larger in front of every layer, and taken back behind it
    uneven = plant(model, [np.array([300.0] + [1.0] * 15)[:8 if graph is attention_graph else 16]] * 4)
    wanted = logits_of(uneven)
    ruined = kl_divergence(wanted, logits_of(int8_of(uneven))).mean()
    repaired = kl_divergence(wanted, logits_of(int8_of(equalize(uneven, ranges_of(uneven))))).mean()
    sound = kl_divergence(logits_of(model), logits_of(int8_of(model))).mean()
    assert ruined > 20 * sound and repaired < ruined / 10


def test_a_flattened_tensor_is_scaled_at_every_place() -> None:
    w = GraphWriter()
    x = w.pool(w.pool(w.conv_relu(w.pixels(), 1, 8)))
    w.classify(w.pool(x), 8 * 4)  # 2×2 places a channel
    model = parsed(w.model())
    uneven = plant_rows(model)
    assert len(find_pairs(uneven)) == 1
    even = equalize(uneven, ranges_of(uneven), 1.0)
    assert np.allclose(logits_of(even), logits_of(uneven), atol=1e-4)
    assert np.ptp(ranges_of(even)["Relu_4_out"]) < 1e-3 * ranges_of(even)["Relu_4_out"].max()


def plant_rows(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make the first layer's channels uneven without taking it back: any network will do."""
    weight = next(w for w in model.graph.initializer if list(w.dims) == [8, 1, 3, 3])
    values = numpy_helper.to_array(weight) * np.exp2(np.arange(8)).reshape(-1, 1, 1, 1)
    weight.CopyFrom(numpy_helper.from_array(values.astype(np.float32), weight.name))
    return model


def test_groups_are_scaled_by_their_own_channels() -> None:
    w = GraphWriter()
    x = w.conv_relu(w.conv_relu(w.pixels(), 1, 8), 8, 12, group=4)
    w.classify(w.mean(x, 2, 3), 12)
    uneven = plant_rows(parsed(w.model()))
    assert not find_pairs(uneven)[0].free
    assert np.allclose(logits_of(equalize(uneven, ranges_of(uneven), 1.0)), logits_of(uneven), atol=1e-4)


def test_a_channel_that_never_fired_stays_as_it_is() -> None:
    model = parsed(vgg_graph())
    ranges = ranges_of(model)
    ranges["Relu_4_out"] = ranges["Relu_4_out"] * np.array([0, 1, 1, 1, 1, 1, 1, 1], np.float32)
    even = equalize(model, ranges)
    name = next(n for n in model.graph.node if n.op_type == "Conv").input[1]
    first, second = (next(numpy_helper.to_array(w)[0] for w in m.graph.initializer if w.name == name)
                     for m in (model, even))
    assert np.array_equal(first, second)


def test_no_factor_is_smaller_than_what_calibration_can_tell() -> None:
    model = parsed(vgg_graph())
    ranges = ranges_of(model)
    ranges["Relu_4_out"] = np.array([1e-9, 1, 1, 1, 1, 1, 1, 1], np.float32)
    name = next(n for n in model.graph.node if n.op_type == "Conv").input[1]
    before, after = (next(numpy_helper.to_array(w)[0] for w in m.graph.initializer if w.name == name)
                     for m in (model, equalize(model, ranges, 1.0)))
    assert np.allclose(after * LEAST_SHARE, before)


@given(share=st.floats(1e-3, 1), alpha=st.floats(0, 1))
def test_a_factor_lies_between_the_share_and_one(share: float, alpha: float) -> None:
    assert share * 0.999 <= float(channel_factors(np.array([share]), alpha)[0]) <= 1


def test_missing_ranges_are_refused() -> None:
    model = parsed(vgg_graph())
    with pytest.raises(BadInput, match="8 channels of Relu_4_out, found none"):
        equalize(model, {})
    with pytest.raises(BadInput, match=r"found \(3,\)"):
        equalize(model, ranges_of(model) | {"Relu_4_out": np.ones(3)})
    with pytest.raises(BadInput, match="alpha of 0–1, found 2"):
        equalize(model, ranges_of(model), 2)


def test_the_shipped_model_says_the_same_on_real_faces(fer2013) -> None:
    model = load_model(Path("mien-light"))
    fp32 = parse_model(model.read_graph("fp32"), "fp32.onnx")
    faces = fer2013.split("PublicTest").images[:32, None]
    training = fer2013.split("Training").images[:32, None]
    pairs = find_pairs(fp32)
    assert len(pairs) == 10 and isinstance(pairs[0], Pair)
    even = equalize(fp32, ranges_of(fp32, training))
    wanted, found = logits_of(fp32, faces), logits_of(even, faces)
    assert np.abs(wanted - found).max() < 1e-4 and np.array_equal(wanted.argmax(1), found.argmax(1))
    weights = {w.name: w for w in fp32.graph.initializer}
    assert sum(weights[w.name] != w for w in even.graph.initializer) > 20  # something was moved


def test_a_bias_with_an_axis_in_front_stays_a_row() -> None:
    """As some exporters write a Gemm's; scaled along its first axis it became a matrix."""
    w = GraphWriter()
    x = w.node("Flatten", [w.mean(w.conv_relu(w.pixels(), 1, 8), 2, 3)])
    first = [x, w.floats("weight", 16, 8), w.floats("bias", 1, 16)]
    x = w.node("Relu", [w.node("Gemm", first, transB=1)])
    w.nodes.append(onnx.helper.make_node("Gemm", [x, w.floats("weight", 5, 16), w.floats("bias", 5)], ["logits"],
                                         name="classify", transB=1))
    model = parsed(w.model())
    assert [pair.first for pair in find_pairs(model)][-1].startswith("Gemm")
    np.testing.assert_allclose(logits_of(equalize(model, ranges_of(model))), logits_of(model), atol=1e-5)
