"""Half precision's arithmetic on a CPU: what is stored is rounded, what is too large is infinite, and both are seen."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tiny_graphs import GRAPHS, random_faces

from calibration.onnx_graph import parse_model
from calibration.quantize import plan, quantize
from export.half_arithmetic import LARGEST, half_arithmetic
from export.half_from_onnx import half_from_onnx
from export.half_range import HalfRange, HalfWatcher
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine


def chain(*steps: tuple[str, float]) -> onnx.ModelProto:
    """x (N,) half → the steps' operators with constants, one behind the other → y (N,) half."""
    nodes, weights, last = [], [], "x"
    for index, (kind, value) in enumerate(steps):
        weights.append(numpy_helper.from_array(np.float16(value), f"k{index}"))
        nodes.append(helper.make_node(kind, [last, f"k{index}"], [f"t{index}"]))
        last = f"t{index}"
    nodes.append(helper.make_node("Cast", [last], ["y"], to=TensorProto.FLOAT))
    graph = helper.make_graph([helper.make_node("Cast", ["pixels"], ["x"], to=TensorProto.FLOAT16), *nodes], "chain",
                              [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n"])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: onnx.ModelProto, values: list[float]) -> dict[str, np.ndarray]:
    return OnnxRuntimeEngine(model.SerializeToString(), "chain", "fp16").run({"pixels": np.array(values, np.float32)})


def largest(arrays: dict[str, np.ndarray]) -> dict[str, float]:
    return {name.removeprefix(LARGEST): float(a) for name, a in arrays.items() if name.startswith(LARGEST)}


def test_what_half_precision_cannot_hold_is_infinite_here_and_was_not_in_onnx_runtime() -> None:
    model = chain(("Mul", 1000), ("Mul", 0.001))
    assert np.isfinite(run(model, [100])["y"]).all()  # why this file exists
    assert run(half_arithmetic(model), [100])["y"] == np.inf


STEPS = st.lists(st.tuples(st.sampled_from(["Add", "Sub", "Mul", "Div"]), st.floats(0.015625, 500, width=16)),
                 min_size=1, max_size=6)


@settings(deadline=None, max_examples=50)
@given(STEPS, st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=8))
def test_every_step_is_numpys_half_arithmetic(steps: list[tuple[str, float]], values: list[float]) -> None:
    operators = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}
    wanted, seen = np.array(values, np.float32).astype(np.float16), {}
    with np.errstate(all="ignore"):
        seen["x"] = float(np.abs(wanted).max())
        for index, (kind, value) in enumerate(steps):
            wanted = operators[kind](wanted, np.float16(value))
            seen[f"t{index}"] = float(np.abs(wanted).max())
    said = run(half_arithmetic(chain(*steps)), values)
    assert np.array_equal(said["y"], wanted.astype(np.float32))
    assert largest(said) == seen


@pytest.mark.parametrize("name", sorted(GRAPHS))
@pytest.mark.parametrize("form", ["fp16", "int8-gpu"])
def test_our_networks_come_out_as_halves_near_the_float_graph(run_onnx, name: str, form: str) -> None:
    model = parse_model(GRAPHS[name]().SerializeToString(), name)
    if form == "int8-gpu":
        chosen = plan(model)
        model = quantize(model, chosen, dict.fromkeys(chosen.tensors, np.float32(0.03125)), "gpu")
    faces = random_faces(16)
    said, _ = HalfWatcher(half_from_onnx(model)).run(faces)
    assert np.array_equal(said, said.astype(np.float16).astype(np.float32))
    assert 0 < np.abs(said - run_onnx(model, faces)).max() < 0.05


def test_the_pixels_stay_float32() -> None:
    model = half_arithmetic(half_from_onnx(parse_model(GRAPHS["vgg"]().SerializeToString(), "vgg")))
    rounded = next(node for node in model.graph.node if node.op_type == "Cast" and
                   any(a.i == TensorProto.FLOAT16 for a in node.attribute))
    before = [node.op_type for node in model.graph.node[: list(model.graph.node).index(rounded)]]
    assert before == ["Cast", "Mul", "Add", "Cast"]  # uint8 → float, normalized; the last is what the first Conv reads


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 69))
def test_a_pass_in_two_parts_sees_what_a_whole_one_does(cut: int) -> None:
    faces = random_faces(70)
    whole = WATCHER.run(faces)[1]
    first, second = WATCHER.run(faces[:cut])[1], WATCHER.run(faces[cut:])[1]
    assert first.with_more(second) == whole
    assert whole.faces == 70 and whole.non_finite == 0 and 0 < whole.largest < 65_504


WATCHER = HalfWatcher(half_from_onnx(parse_model(GRAPHS["vgg"]().SerializeToString(), "vgg")))


def test_a_tensor_that_overflows_is_named_though_the_logits_are_finite() -> None:
    """1/x of an infinity is 0: looking at the logits alone would miss it."""
    model = parse_model(GRAPHS["vgg"]().SerializeToString(), "vgg")
    classify = next(n for n in model.graph.node if n.name == "classify")
    source = classify.input[0]
    classify.input[0] = "tamed"
    index = list(model.graph.node).index(classify)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(60_000), "large"))
    for step, node in enumerate([helper.make_node("Exp", [source], ["e"], name="e"),
                                 helper.make_node("Mul", ["e", "large"], ["too_large"], name="too_large"),
                                 helper.make_node("Add", ["too_large", "large"], ["sum"], name="sum"),
                                 helper.make_node("Reciprocal", ["sum"], ["tamed"], name="tamed")]):
        model.graph.node.insert(index + step, node)
    logits, seen = HalfWatcher(half_from_onnx(model)).run(random_faces(4))
    assert np.isfinite(logits).all()
    assert seen.largest == np.inf and seen.tensor in ("too_large", "sum")


def test_faces_without_a_finite_answer_are_counted() -> None:
    model = parse_model(GRAPHS["vgg"]().SerializeToString(), "vgg")
    shift = next(w for w in model.graph.initializer if w.name.startswith("bias"))
    shift.CopyFrom(numpy_helper.from_array(np.full(shift.dims, 60_000, np.float32), shift.name))
    _, seen = HalfWatcher(half_from_onnx(model)).run(random_faces(5))
    assert seen == HalfRange(5, 5, np.inf, seen.tensor)
