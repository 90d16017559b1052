"""The oracle's arithmetic: exact sums, half to even, and bounds that real float arithmetic never leaves."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tiny_graphs import GraphWriter, random_faces

from calibration.integer_oracle import AS_WRITTEN, FUSED, ONNX_RUNTIME, WIDENED, Backend, Oracle, judge, legal_bound
from calibration.integer_oracle.legal import FLOAT16, FLOAT32, Bounded, Grid, dequantize, quantize
from calibration.integer_oracle.operators import OPERATORS, Call
from calibration.integer_oracle.products import EXACT_IN_FLOAT32, Window, correlate, multiply
from calibration.integer_oracle.sample import exact_outputs
from calibration.integer_oracle.witness import ask_onnxruntime
from export.half_from_onnx import half_from_onnx
from runtime.errors import BadInput, MienError

INT8_ZERO = np.int8(0)
every_backend = pytest.mark.parametrize("backend", [AS_WRITTEN, WIDENED, FUSED, ONNX_RUNTIME], ids=lambda b: b.name)


def certain(values, dtype: np.dtype = FLOAT32) -> Bounded:
    return Bounded(np.asarray(values, dtype=np.float64), 0.0, dtype)


# sums

@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_convolution_of_integers_is_onnx_runtimes_int32_convolution(data: st.DataObject) -> None:
    group, inputs, outputs = (data.draw(st.integers(1, 3)) for _ in range(3))
    kernel, strides, dilations = (data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) for _ in range(3))
    pads = data.draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
    random = np.random.default_rng(data.draw(st.integers(0, 9)))
    x = random.integers(0, 128, (2, group * inputs, 9, 8), dtype=np.uint8)
    w = random.integers(-128, 128, (group * outputs, inputs, *kernel), dtype=np.int8)
    node = helper.make_node("ConvInteger", ["x", "w"], ["y"], group=group, strides=strides, dilations=dilations,
                            pads=pads)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.UINT8, x.shape)],
                              [helper.make_tensor_value_info("y", TensorProto.INT32, None)],
                              [numpy_helper.from_array(w, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    window = Window(strides, ((pads[0], pads[2]), (pads[1], pads[3])), dilations, group)
    assert np.array_equal(correlate(x.astype(np.float32), w.astype(np.float32), window), wanted)


@pytest.mark.parametrize("channels", [EXACT_IN_FLOAT32 // 2, 3 * EXACT_IN_FLOAT32 // 2 + 1])
def test_large_sums_of_int8_are_exact(channels: int) -> None:
    x = np.full((1, channels, 3, 3), 127.0)  # odd products, of which float32 loses the last bits beyond 2^24
    w = np.full((2, channels, 3, 3), 127.0)
    w[1, 0, 0, 0] = 126
    x_grid, w_grid = (Grid(v, 0.0, np.ones(())) for v in (x, w))
    sums = multiply(Bounded(x, 0.0, FLOAT32, x_grid), Bounded(w, 0.0, FLOAT32, w_grid), None,
                    Window((1, 1), ((0, 0), (0, 0)), (1, 1)), FUSED, onto_q=True)
    assert sums.value.ravel().tolist() == [9 * channels * 127**2, 9 * channels * 127**2 - 127]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(0, 10**6))
def test_a_float32_sum_in_any_order_stays_inside_the_bound(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    x, w = (random.normal(0, 1, count).astype(np.float32) for _ in range(2))
    bias = np.float32(random.normal())
    found = multiply(certain(x[None]), certain(w[None]), certain(bias[None]), Window(), WIDENED, onto_q=False)
    for order in (np.arange(count), random.permutation(count), np.argsort(x * w), np.argsort(-np.abs(x * w))):
        total = bias
        for product in x[order] * w[order]:
            total = np.float32(total + product)
        assert abs(float(total) - found.value.item()) <= found.slack.item()
    assert found.slack.item() < 1e-6 * (count + 10) * (np.abs(x * w).sum() + abs(bias))


def test_a_bound_widens_by_what_the_inputs_may_be_off() -> None:
    x = Bounded(np.array([[3.0, 5.0]]), np.array([[1.0, 0.0]]), FLOAT32)
    found = multiply(x, certain([[-2.0, 7.0]]), None, Window(), WIDENED, onto_q=False)
    assert found.value.item() == 29 and found.slack.item() == pytest.approx(2, rel=1e-4) and found.slack.item() >= 2


def integer_layer(x: np.ndarray, w: np.ndarray, bias: float, backend: Backend, step: float = 0.25,
                  reach: np.ndarray | float = 0.0) -> Bounded:
    """One output of int8 inputs at a scale of 2 · step and weights at a scale of a half."""
    x_grid, w_grid = Grid(x, reach, np.array(2 * step)), Grid(w, 0.0, np.array([[0.5]]))
    return multiply(Bounded(x * 2 * step, reach * 2 * step, FLOAT32, x_grid), Bounded(w / 2, 0.0, FLOAT32, w_grid),
                    certain([bias]), Window(), backend, onto_q=True)


def test_integers_at_scales_of_powers_of_two_are_not_rounded_at_all() -> None:
    x, w = np.array([[3.0, 5.0]]), np.array([[-2.0, 7.0]])
    exact = integer_layer(x, w, 0.125, FUSED)
    assert exact.value.item() == 29 * 0.25 + 0.125 and not np.any(exact.slack)  # a tie for a Q of the same scale
    assert np.all(integer_layer(x, w, 0.125, FUSED, step=0.3).slack > 0)


def test_an_integer_sum_widens_by_what_its_inputs_may_be_off() -> None:
    found = integer_layer(np.array([[3.0, 5.0]]), np.array([[-2.0, 7.0]]), 0.125, FUSED,
                          reach=np.array([[1.0, 2.0]]))
    assert found.slack.item() == pytest.approx((2 * 1 + 7 * 2) * 0.25, rel=1e-5)
    assert found.slack.item() >= (2 * 1 + 7 * 2) * 0.25


def test_a_bias_may_be_rounded_to_the_step_of_the_sum() -> None:
    x, w = np.array([[3.0, 5.0]]), np.array([[-2.0, 7.0]])
    assert integer_layer(x, w, 0.35, ONNX_RUNTIME).slack.item() == pytest.approx(0.1, rel=1e-4)  # 0.35 to 0.25
    assert integer_layer(x, w, 0.35, FUSED).slack.item() < 1e-5


# rounding

@every_backend
def test_ties_round_to_even_and_have_no_choice_where_nothing_is_rounded_before(backend: Backend) -> None:
    halves = certain(np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 126.5, 127.5, -128.5, 300]) * 0.25)
    found = quantize(halves, np.array(0.25), INT8_ZERO, backend)
    assert found.exact.tolist() == [-2, -2, 0, 0, 2, 2, 126, 127, -128, 127]
    assert np.array_equal(found.low, found.exact) and np.array_equal(found.high, found.exact)


@pytest.mark.parametrize(("scale", "backend", "kept"), [
    (0.1, AS_WRITTEN, False), (0.5, AS_WRITTEN, True), (0.1, WIDENED, True)])
def test_integers_that_half_precision_rounds_are_no_longer_a_grid(scale: float, backend: Backend, kept: bool) -> None:
    exact = np.float64(np.float16(scale))
    found = dequantize(certain([101, 127]), np.array(exact), np.array(0.0), FLOAT16, backend)
    assert (found.grid is not None) == kept
    halves = (np.array([101, 127]) * exact).astype(np.float16)
    assert (np.abs(halves - found.value) <= found.slack).all()


@every_backend
def test_a_number_beside_a_boundary_has_two_legal_integers(backend: Backend) -> None:
    x = Bounded(np.array([2.499, 2.4]), np.array([0.002, 0.002]), FLOAT32)
    found = quantize(x, np.array(1.0), INT8_ZERO, backend)
    assert (found.low.tolist(), found.exact.tolist(), found.high.tolist()) == ([2, 2], [2, 2], [3, 2])


def test_a_division_may_be_a_product_with_the_reciprocal() -> None:
    scale = np.float32(0.1)
    ties = certain(np.float64(scale) * (np.arange(-40, 40) + 0.5))  # exact ties; in float32 either side
    found = quantize(ties, np.array(scale), INT8_ZERO, FUSED)
    assert (found.high - found.low == 1).all()


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT16], ids=str)
@settings(max_examples=60, deadline=None)
@given(st.floats(-1000, 1000, width=32), st.floats(-60, 60, width=32))
def test_one_operation_is_rounded_as_the_type_rounds_it(dtype: np.dtype, x: float, y: float) -> None:
    a, b = dtype.type(x), dtype.type(y)
    for value, wanted in ((float(a) + float(b), a + b), (float(a) * float(b), a * b)):
        stored = AS_WRITTEN.store(np.array(value), 0.0, dtype)
        assert stored.value == float(wanted) and stored.slack == 0
        left = WIDENED.store(np.array(value), 0.0, dtype)
        assert abs(float(wanted) - left.value) <= left.slack


@settings(max_examples=60, deadline=None)
@given(st.floats(-100, 100), st.floats(0, 1), st.floats(-1, 1))
def test_rounding_keeps_every_legal_value_inside(value: float, slack: float, share: float) -> None:
    stored = AS_WRITTEN.store(np.array([value]), np.array([slack]), FLOAT16)
    legal = float(np.float16(value + share * slack))
    assert abs(legal - stored.value.item()) <= stored.slack.item()


# operators, each against ONNX Runtime's own

def _divide(w: GraphWriter, x: str) -> str:
    return w.node("Div", [x, w.node("Add", [w.node("Exp", [x]), w.constant("one", np.float32(1))])])


OPERATIONS = {
    "Add": lambda w, x: w.node("Add", [x, w.floats("b", 1, 1, 16, 16)]),
    "Sub": lambda w, x: w.node("Sub", [w.floats("b", 1, 1, 16, 16), x]),
    "Mul": lambda w, x: w.node("Mul", [x, w.node("Sigmoid", [x])]),
    "Div": _divide,
    "Exp": lambda w, x: w.node("Exp", [x]),
    "Sigmoid": lambda w, x: w.node("Sigmoid", [x]),
    "Softmax": lambda w, x: w.node("Softmax", [x], axis=-1),
    "Relu": lambda w, x: w.node("Relu", [x]),
    "Clip": lambda w, x: w.node("Clip", [x, w.constant("low", np.float32(-0.25)), w.constant("top", np.float32(0.75))]),
    "MaxPool": lambda w, x: w.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "AveragePool": lambda w, x: w.node("AveragePool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "AveragePool-pads-counted": lambda w, x: w.node("AveragePool", [x], kernel_shape=[3, 2], pads=[1, 0, 1, 1],
                                                    count_include_pad=1),
    "GlobalAveragePool": lambda w, x: w.node("GlobalAveragePool", [x]),
    "ReduceMean": lambda w, x: w.mean(x, 2, keep=0),
    "ReduceMax": lambda w, x: w.node("ReduceMax", [x, w.constant("axes", np.array([3]))], keepdims=1),
    "Conv": lambda w, x: w.node("Conv", [x, w.floats("w", 4, 1, 3, 3), w.floats("b", 4)], strides=[2, 1],
                                pads=[1, 0, 2, 1], dilations=[1, 2]),
    "Conv-depth-wise": lambda w, x: w.conv(w.conv(x, 1, 4), 4, 4, group=4),
    "Conv-1-d": lambda w, x: w.node("Conv", [w.mean(x, 2, keep=0), w.floats("w", 2, 1, 3)], pads=[1, 1]),
    "Gemm": lambda w, x: w.node("Gemm", [w.node("Flatten", [x]), w.floats("w", 256, 3), w.floats("b", 3)]),
    "Gemm-transposed": lambda w, x: w.node("Gemm", [w.node("Flatten", [x]), w.floats("w", 3, 256)], transB=1),
    "MatMul": lambda w, x: w.node("MatMul", [w.node("Flatten", [x]), w.floats("w", 256, 3)]),
    "MatMul-rows": lambda w, x: w.node("MatMul", [x, w.floats("w", 16, 3)]),
    "BatchNormalization": lambda w, x: w.node("BatchNormalization", [
        x, w.floats("g", 1), w.floats("b", 1), w.floats("m", 1), w.constant("v", np.array([0.7], np.float32))]),
    "InstanceNormalization": lambda w, x: w.node("InstanceNormalization", [
        w.conv(x, 1, 4), w.floats("g", 4), w.floats("b", 4)]),
    "moving": lambda w, x: w.node("Concat", [
        w.node("Squeeze", [w.node("Transpose", [w.node("Unsqueeze", [x, w.constant("at", np.array([2]))])],
                                  perm=[0, 1, 2, 4, 3]), w.constant("at", np.array([2]))]),
        w.node("Reshape", [w.node("Identity", [x]), w.constant("to", np.array([-1, 1, 16, 16]))])], axis=1),
}


def graph_of(operation: str) -> onnx.ModelProto:
    """faces → [-1, 1] → Q/DQ → the operation → its float result and a Q; behind the Q is a grid, as in real graphs."""
    w = GraphWriter()
    zero = w.constant("zero", INT8_ZERO)
    pixels = w.node("QuantizeLinear", [w.pixels(), w.constant("s", np.float32(1 / 61)), zero])
    x = w.node("DequantizeLinear", [pixels, w.constant("s", np.float32(1 / 61)), zero])
    result = OPERATIONS[operation](w, x)
    w.node("QuantizeLinear", [result, w.constant("s", np.float32(1 / 32)), zero])
    graph = helper.make_graph(w.nodes, operation, [helper.make_tensor_value_info("faces", TensorProto.UINT8,
                                                                                 ["n", 1, 16, 16])],
                              [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)], w.weights)
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))


@pytest.mark.parametrize("half", [False, True], ids=["float32", "half"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operators_bound_holds_what_onnx_runtime_says_and_little_more(operation: str, half: bool) -> None:
    model, faces = graph_of(operation), random_faces(3, seed=1)
    model = half_from_onnx(model) if half else model
    oracle = Oracle(model, WIDENED if half else AS_WRITTEN)
    verdict = judge(oracle, faces, ask_onnxruntime(model, faces, fuse=False))
    assert verdict.first is None
    result = next(f for f in verdict.findings if not f.integer)
    scale = np.abs(exact_outputs(oracle, faces)[oracle.outputs[0]]).max()
    assert result.allowed <= (2e-2 if half else 2e-4) * max(1, scale)


def test_a_variance_taken_in_one_pass_stays_inside_the_bound() -> None:
    x = np.random.default_rng(0).normal(300, 1, (1, 2, 8, 8)).astype(np.float32)
    ones, zeros = certain([1, 1]), certain([0, 0])
    call = Call("InstanceNormalization", {}, [certain(x), ones, zeros], WIDENED, onto_q=False)
    found = OPERATORS[call.kind](call)
    mean, square = (v.mean((2, 3), keepdims=True, dtype=np.float32) for v in (x, x * x))
    one_pass = (x - mean) / np.sqrt(square - mean * mean + np.float32(1e-5))
    assert (np.abs(one_pass - found.value) <= found.slack).all()


def test_every_operator_of_the_table_is_tried_here() -> None:
    tried = {n.op_type for operation in OPERATIONS for n in graph_of(operation).graph.node}
    assert tried - {"QuantizeLinear"} == set(OPERATORS)


# the walk

def test_an_operator_it_does_not_run_is_refused_by_name() -> None:
    w = GraphWriter()
    result = w.node("Erf", [w.pixels()])
    w.node("QuantizeLinear", [result, w.constant("s", np.float32(1)), w.constant("zero", INT8_ZERO)])
    with pytest.raises(BadInput, match="found Erf in Erf_3: the integer oracle does not run it"):
        Oracle(as_model(w, result), AS_WRITTEN)


@pytest.mark.parametrize(("kind", "attributes", "words"), [
    ("MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1}, "without ceil_mode and dilations"),
    ("MaxPool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, "explicit pads for MaxPool, found auto_pad"),
])
def test_an_attribute_it_does_not_run_is_refused_by_node(kind: str, attributes: dict, words: str) -> None:
    w = GraphWriter()
    result = w.node(kind, [w.pixels()], **attributes)
    w.node("QuantizeLinear", [result, w.constant("s", np.float32(1)), w.constant("zero", INT8_ZERO)])
    oracle = Oracle(as_model(w, result), AS_WRITTEN)
    with pytest.raises(BadInput, match=f"{words}.*node MaxPool_3"):
        oracle.run(random_faces(1))


def test_a_product_of_two_activations_with_more_axes_is_refused() -> None:
    w = GraphWriter()
    x = w.pixels()
    result = w.node("MatMul", [x, x])
    w.node("QuantizeLinear", [result, w.constant("s", np.float32(1)), w.constant("zero", INT8_ZERO)])
    with pytest.raises(BadInput, match="one matrix for all rows, found .*node MatMul_3"):
        Oracle(as_model(w, result), AS_WRITTEN).run(random_faces(1))


def test_a_float_graph_is_refused() -> None:
    w = GraphWriter()
    with pytest.raises(BadInput, match="found none; give int8.onnx"):
        Oracle(as_model(w, w.pixels()), AS_WRITTEN)


def test_a_q_without_a_zero_point_is_refused() -> None:
    w = GraphWriter()
    pixels = w.pixels()
    w.node("QuantizeLinear", [pixels, w.constant("s", np.float32(1))])
    with pytest.raises(BadInput, match="zero-point.*found none at QuantizeLinear_3_out"):
        Oracle(as_model(w, pixels), AS_WRITTEN)


def test_a_graph_that_does_not_take_pixels_is_refused() -> None:
    model = graph_of("Relu")
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    with pytest.raises(BadInput, match="expected uint8 faces as the one input, found faces"):
        Oracle(model, AS_WRITTEN)


def test_half_precision_that_overflows_names_the_tensor() -> None:
    w = GraphWriter()
    zero, scale = w.constant("zero", INT8_ZERO), w.constant("s", np.float32(1 / 32))
    x = w.node("DequantizeLinear", [w.node("QuantizeLinear", [w.pixels(), scale, zero]), scale, zero])
    large = w.node("Mul", [x, w.constant("large", np.float32(60000))])
    w.node("QuantizeLinear", [large, scale, zero])
    with pytest.raises(MienError, match="found infinity or NaN in Mul_5_out"):
        Oracle(half_from_onnx(as_model(w, large)), AS_WRITTEN).run(random_faces(4))


@pytest.mark.parametrize("faces", [np.zeros((2, 1, 8, 16), np.uint8), np.zeros((2, 1, 16, 16), np.float32),
                                   np.zeros((1, 16, 16), np.uint8), np.zeros((0, 1, 16, 16), np.uint8)])
def test_faces_of_another_shape_or_type_are_refused(faces: np.ndarray) -> None:
    with pytest.raises(BadInput, match=r"expected faces of \(N, 1, 16, 16\) uint8"):
        Oracle(graph_of("Relu"), AS_WRITTEN).run(faces)


def as_model(w: GraphWriter, output: str) -> onnx.ModelProto:
    graph = helper.make_graph(w.nodes, "g", [helper.make_tensor_value_info("faces", TensorProto.UINT8,
                                                                           ["n", 1, 16, 16])],
                              [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)], w.weights)
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))


# all layers together

def test_the_bounds_over_all_layers_hold_what_a_backend_says(quantized) -> None:
    faces = random_faces(10, seed=3)
    said = ask_onnxruntime(quantized.forms["cpu"], faces, fuse=True)
    integers, floats = Oracle(quantized.forms["cpu"], ONNX_RUNTIME).run(faces)
    assert len(set(integers) - set(said)) <= 1  # a Q behind a Reshape goes before it
    for name, legal in ((n, integer) for n, integer in integers.items() if n in said):
        assert ((legal.low <= said[name]) & (said[name] <= legal.high)).all()
        assert ((legal.low <= legal.exact) & (legal.exact <= legal.high)).all()
    assert (np.abs(said["logits"] - floats["logits"].value) <= floats["logits"].slack).all()


def test_a_q_that_was_not_seen_passes_on_all_that_is_legal(quantized) -> None:
    model, faces = quantized.forms["cpu"], random_faces(4, seed=3)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    logits = session.run(None, {"faces": faces})[0]
    verdict = judge(Oracle(model, ONNX_RUNTIME), faces, {"logits": logits})
    assert verdict.legal and [f.tensor for f in verdict.findings] == ["logits"]
    assert not judge(Oracle(model, ONNX_RUNTIME), faces, {"logits": logits + 1}).legal


def test_legal_backends_lie_within_the_worst_case_and_repeat_themselves(quantized) -> None:
    faces = random_faces(10, seed=3)
    oracle = Oracle(quantized.forms["gpu"], FUSED)
    found = legal_bound(oracle, faces, draws=20)["logits"]
    worst = oracle.run(faces)[1]["logits"].slack.max(axis=0)
    assert found.shape == (5,) and (found > 0).all() and (found <= worst).all()
    assert np.array_equal(found, legal_bound(oracle, faces, draws=20)["logits"])


@pytest.mark.parametrize(("seen", "words"), [
    ({}, "found none"), ({"x": np.zeros(3)}, "found x; it has"),
    ({"logits": np.zeros((2, 5))}, "expected logits for 3 faces, found 2"),
    ({"logits": np.zeros((3, 4))}, r"expected logits of \(3, 5\), found \(3, 4\)"),
])
def test_answers_of_another_graph_are_refused(quantized, seen: dict, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        judge(Oracle(quantized.forms["cpu"], AS_WRITTEN), random_faces(3), seen)


def test_integers_of_another_type_are_refused(quantized) -> None:
    model, faces = quantized.forms["cpu"], random_faces(3)
    said = ask_onnxruntime(model, faces, fuse=False)
    name = next(n for n in said if n != "logits")
    with pytest.raises(BadInput, match=f"expected {name} of .* int8, found .* int16"):
        judge(Oracle(model, AS_WRITTEN), faces, {name: said[name].astype(np.int16)})


def test_a_logit_that_is_not_a_number_is_illegal(quantized) -> None:
    model, faces = quantized.forms["cpu"], random_faces(3)
    said = ask_onnxruntime(model, faces, fuse=False)
    said["logits"][2, 1] = np.nan
    verdict = judge(Oracle(model, AS_WRITTEN), faces, said)
    assert verdict.first is not None and "face 2, element (1,)" in verdict.first.first
