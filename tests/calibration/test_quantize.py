"""The quantized graphs: the rules TensorRT sets, and that both forms hold the same integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from tiny_graphs import (
    CLASSES,
    GraphWriter,
    attention_graph,
    random_faces,
    residual_graph,
    run_as_written,
    tokens_graph,
    vgg_graph,
)

from calibration.onnx_graph import Graph, attribute
from calibration.quantize import plan, quantize
from runtime.errors import BadInput

FORMS = ("cpu", "gpu")
both_forms = pytest.mark.parametrize("form", FORMS)


def quantizers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return the Q nodes by the tensor they round."""
    return {n.input[0]: n for n in model.graph.node if n.op_type == "QuantizeLinear"}


def test_both_forms_give_equal_integers(quantized) -> None:
    rounded = [{n.output[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
               for model in quantized.forms.values()]
    common = sorted(rounded[0] & rounded[1])
    assert len(common) >= len(quantized.plan.tensors)
    faces = random_faces(32, seed=7)  # not the ones it was calibrated on: some clip
    cpu, gpu = (run_as_written(quantized.forms[form], common, faces) for form in FORMS)
    assert {name for name in common if not np.array_equal(cpu[name], gpu[name])} == set()
    assert max(int(np.abs(v.astype(int)).max()) for v in cpu.values()) >= 127  # the integers are used


def test_both_forms_give_equal_logits(quantized) -> None:
    faces = random_faces(32, seed=7)
    cpu, gpu = (run_as_written(quantized.forms[form], ["logits"], faces)["logits"] for form in FORMS)
    assert np.array_equal(cpu, gpu)


@both_forms
def test_quantization_keeps_the_logits_close(quantized, form: str) -> None:
    faces = random_faces(32, seed=7)
    wanted = run_as_written(quantized.fp32, ["logits"], faces)["logits"]
    found = run_as_written(quantized.forms[form], ["logits"], faces)["logits"]
    assert 0 < np.abs(wanted - found).max() < 0.1 * np.ptp(wanted)


@both_forms
def test_no_bias_is_quantized(quantized, form: str) -> None:
    graph = Graph(quantized.forms[form])
    compute = [n for n in graph.nodes if n.op_type in ("Conv", "Gemm") and len(n.input) > 2]
    assert compute and {graph.weights[n.input[2]].data_type for n in compute} == {TensorProto.FLOAT}
    assert TensorProto.INT32 not in {w.data_type for w in graph.weights.values()}


@both_forms
def test_weights_are_int8_with_dequantization_only(quantized, form: str) -> None:
    graph = Graph(quantized.forms[form])
    for name in quantized.plan.nodes:
        node = next(n for n in graph.nodes if n.name == name)
        dequantize = graph.producers[node.input[1]]
        assert dequantize.op_type == "DequantizeLinear"
        assert graph.weights[dequantize.input[0]].data_type == TensorProto.INT8
    assert not [n for n in graph.nodes if n.op_type == "QuantizeLinear" and n.input[0] in graph.weights]


@both_forms
def test_weights_stay_within_127(quantized, form: str) -> None:
    graph = Graph(quantized.forms[form])
    integers = [graph.weight(n.input[0]) for n in graph.nodes
                if n.op_type == "DequantizeLinear" and n.input[0] in graph.weights]
    assert len(integers) == len(quantized.plan.nodes)
    assert {int(np.abs(w.astype(int)).max()) for w in integers} == {127}


@both_forms
def test_every_output_channel_has_its_own_weight_scale(quantized, form: str) -> None:
    graph = Graph(quantized.forms[form])
    for node in graph.nodes:
        if node.op_type == "DequantizeLinear" and node.input[0] in graph.weights:
            axis = attribute(node, "axis", 1)
            assert axis == (1 if graph.reads(node.output[0])[0].op_type == "MatMul" else 0)
            assert len(graph.weight(node.input[1])) == graph.weight(node.input[0]).shape[axis]


@both_forms
def test_every_zero_point_is_zero(quantized, form: str) -> None:
    graph = Graph(quantized.forms[form])
    points = [graph.weight(n.input[2]) for n in graph.nodes if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert points and all(p.dtype == np.int8 and not p.any() for p in points)


@both_forms
def test_every_scale_is_exact_in_half_precision(quantized, form: str) -> None:
    graph = Graph(quantized.forms[form])
    for node in graph.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale = graph.weight(node.input[1])
            assert scale.dtype == np.float32 and np.array_equal(scale, scale.astype(np.float16)) and (scale > 0).all()


@both_forms
def test_an_activation_is_dequantized_with_the_scale_it_was_quantized_with(quantized, form: str) -> None:
    graph = Graph(quantized.forms[form])
    for quantizer in quantizers(quantized.forms[form]).values():
        readers = graph.reads(quantizer.output[0])
        assert [r.op_type for r in readers] == ["DequantizeLinear"]
        assert list(readers[0].input[1:]) == list(quantizer.input[1:])


def test_the_cpu_form_puts_relu_between_equal_scales(quantized) -> None:
    graph, found = Graph(quantized.forms["cpu"]), 0
    rounded = quantizers(quantized.forms["cpu"])
    for relu in (n for n in graph.nodes if n.op_type == "Relu" and n.output[0] in rounded):
        before = graph.producers[relu.input[0]]
        if before.op_type == "Add":  # what is added stays float up to the Q behind the ReLU
            continue
        assert before.op_type == "DequantizeLinear"
        assert before.input[1] == rounded[relu.output[0]].input[1]
        found += 1
    assert found


def test_the_gpu_form_leaves_relu_and_pooling_on_the_convolution(quantized) -> None:
    graph = Graph(quantized.forms["gpu"])
    for node in graph.nodes:
        if node.op_type in ("Relu", "MaxPool"):
            assert graph.producers[node.input[0]].op_type != "DequantizeLinear"


def test_the_gates_of_an_attention_network_stay_float() -> None:
    model = attention_graph()
    gates = {n.name for n in model.graph.node if n.op_type == "Conv" and "gate" in n.input[1]}
    chosen = plan(model)
    assert set(chosen.kept_float) == gates and len(gates) == 2
    assert set(chosen.nodes) == {n.name for n in model.graph.node if n.op_type in ("Conv", "Gemm")} - gates


@both_forms
def test_a_gate_reads_and_holds_floats(form: str) -> None:
    model = attention_graph()
    chosen = plan(model)
    made = Graph(quantize(model, chosen, dict.fromkeys(chosen.tensors, np.float32(0.0625)), form))
    for gate in (n for n in made.nodes if n.name in chosen.kept_float):
        assert made.weights[gate.input[1]].data_type == TensorProto.FLOAT
        assert made.producers[gate.input[0]].op_type != "DequantizeLinear"


def test_a_tensor_behind_pooling_takes_the_scale_before_it() -> None:
    model = vgg_graph()
    relus = {n.output[0] for n in model.graph.node if n.op_type == "Relu"}
    pooled = {n.output[0] for n in model.graph.node if n.op_type == "MaxPool"}
    assert relus <= set(plan(model).tensors) and not pooled & set(plan(model).tensors)


@both_forms
def test_a_graph_that_is_quantized_already_is_refused(quantized, form: str) -> None:
    with pytest.raises(BadInput, match="quantized already; give fp32.onnx"):
        plan(quantized.forms[form])


def test_a_graph_with_nothing_to_quantize_is_refused() -> None:
    writer = GraphWriter()
    flat = writer.node("Flatten", [writer.mean(writer.pixels(), 2, 3)])
    shape = writer.constant("to", np.array([1, CLASSES]))
    writer.nodes.append(onnx.helper.make_node("Expand", [flat, shape], ["logits"]))
    with pytest.raises(BadInput, match="found none to quantize"):
        plan(writer.model())


def test_a_matrix_that_is_not_transposed_has_a_scale_for_each_column() -> None:
    writer = GraphWriter()
    flat = writer.node("Flatten", [writer.mean(writer.pixels(), 2, 3)])
    columns = writer.constant("weight", np.array([[1, 0.5, 0.25, 2, 4]], np.float32))
    writer.nodes.append(onnx.helper.make_node("Gemm", [flat, columns], ["logits"], name="classify"))
    model = writer.model()
    chosen = plan(model)
    made = Graph(quantize(model, chosen, dict.fromkeys(chosen.tensors, np.float32(0.0625)), "cpu"))
    dequantize = made.producers[next(n for n in made.nodes if n.op_type == "Gemm").input[1]]
    assert attribute(dequantize, "axis", 0) == 1
    assert made.weight(dequantize.input[1]) == pytest.approx(np.array([1, 0.5, 0.25, 2, 4]) / 127, rel=1e-3)


def test_onnx_runtime_runs_convolutions_between_quantized_tensors_on_integers(quantized, tmp_path: Path) -> None:
    graph = Graph(quantized.forms["cpu"])
    rounded = quantizers(quantized.forms["cpu"])
    between = [n for n in graph.nodes if n.op_type == "Conv" and n.output[0] in rounded]
    assert len(between) >= 1  # a convolution that attention reads gives floats
    assert optimized_kinds(quantized.forms["cpu"], tmp_path).count("QLinearConv") == len(between)


def test_every_convolution_of_a_plain_network_writes_integers() -> None:
    model = vgg_graph()
    chosen = plan(model)
    made = quantize(model, chosen, dict.fromkeys(chosen.tensors, np.float32(0.0625)), "cpu")
    assert {n.output[0] for n in made.graph.node if n.op_type == "Conv"} <= set(quantizers(made))


def optimized_kinds(model: onnx.ModelProto, folder: Path) -> list[str]:
    """Return the node kinds that ONNX Runtime makes of a graph."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [n.op_type for n in onnx.load(folder / "optimized.onnx").graph.node]


def squeeze_and_excitation_graph(ends_in_product: bool) -> onnx.ModelProto:
    """conv → ReLU → (mean → 1×1 conv → ReLU → 1×1 conv → Sigmoid) ⊙ → mean → Gemm; or the Sigmoid alone as output."""
    random = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(random.normal(0, 0.3, shape).astype(np.float32), name)

    helper = onnx.helper
    nodes = [
        helper.make_node("Cast", ["faces"], ["pixels"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "w0"], ["c0"], "trunk", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"], "relu"),
        helper.make_node("GlobalAveragePool", ["r0"], ["pooled"], "pool"),
        helper.make_node("Conv", ["pooled", "w1"], ["c1"], "squeeze"),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "excite"),
        helper.make_node("Sigmoid", ["c2"], ["gate"], "sigmoid"),
    ]
    if ends_in_product:
        nodes += [helper.make_node("Mul", ["r0", "gate"], ["weighed"], "mul"),
                  helper.make_node("GlobalAveragePool", ["weighed"], ["mean"], "mean"),
                  helper.make_node("Flatten", ["mean"], ["flat"], "flatten"),
                  helper.make_node("Gemm", ["flat", "w3"], ["logits"], "classify", transB=1)]
    else:
        nodes += [helper.make_node("Flatten", ["gate"], ["logits"], "flatten")]
    weights = [weight("w0", 8, 1, 3, 3), weight("w1", 2, 8, 1, 1), weight("w2", 8, 2, 1, 1), weight("w3", 8, 8)]
    graph = helper.make_graph(nodes, "se", [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["n", 1, 8, 8])],
                              [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 8])],
                              weights if ends_in_product else weights[:3])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def test_both_layers_of_a_squeeze_and_excitation_stay_float():
    chosen = plan(squeeze_and_excitation_graph(ends_in_product=True))
    assert set(chosen.kept_float) == {"squeeze", "excite"} and set(chosen.nodes) == {"trunk", "classify"}


def test_a_sigmoid_that_is_the_answer_is_no_gate():
    chosen = plan(squeeze_and_excitation_graph(ends_in_product=False))
    assert set(chosen.nodes) == {"trunk", "squeeze", "excite"}


# residual additions

def made_of(model: onnx.ModelProto, form: str, keep_float: tuple[str, ...] = ()) -> Graph:
    """Quantize with one scale for all, and index what came of it."""
    chosen = plan(model, keep_float)
    return Graph(quantize(model, chosen, dict.fromkeys(chosen.tensors, np.float32(0.0625)), form))


def ends_of_additions(graph: Graph) -> list[list[str]]:
    """Return what kinds of nodes every addition of two activations reads."""
    return [[graph.producers[tensor].op_type for tensor in node.input] for node in graph.nodes
            if node.op_type == "Add" and all(tensor in graph.producers for tensor in node.input)]


@both_forms
def test_of_a_residual_addition_only_the_skip_branch_is_rounded(form: str) -> None:
    found = ends_of_additions(made_of(residual_graph(), form))
    assert found == [["DequantizeLinear", "Conv"], ["Conv", "DequantizeLinear"]]


@both_forms
def test_a_skip_branch_stays_float_beside_a_convolution_that_does(form: str) -> None:
    model = residual_graph()
    last = next(n.name for n in model.graph.node if n.output[0] == "Conv_7_out")
    assert ends_of_additions(made_of(model, form, (last,)))[0] == ["Relu", "Conv"]


def test_every_mix_needs_only_the_ranges_of_the_whole_plan() -> None:
    model = residual_graph()
    everything = plan(model)
    for name in everything.nodes:
        assert set(plan(model, (name,)).tensors) <= set(everything.tensors)


def test_the_skips_own_pair_holds_the_integers_that_the_convolutions_read() -> None:
    made = {form: made_of(residual_graph(), form) for form in FORMS}
    faces = random_faces(8, seed=7)
    twins = [q.output[0] for q in made["cpu"].nodes if q.op_type == "QuantizeLinear" and "_skip_q" in q.output[0]]
    assert len(twins) == 2
    for twin in twins:
        wanted = run_as_written(made["gpu"].model, [twin.replace("_skip_q", "_q")], faces)
        assert np.array_equal(run_as_written(made["cpu"].model, [twin], faces)[twin], next(iter(wanted.values())))


def test_an_addition_of_another_shape_is_no_residual() -> None:
    writer = GraphWriter()
    x = writer.conv_relu(writer.pixels(), 1, 8)
    x = writer.node("Add", [x, writer.conv(writer.mean(x, 2, 3), 8, 8, size=1)])  # a vector for all places
    writer.classify(writer.mean(x, 2, 3), 8)
    assert ends_of_additions(made_of(writer.model(), "gpu")) == [["Relu", "Conv"]]


def test_a_convolution_that_is_read_twice_is_not_fused_with_its_addition() -> None:
    writer = GraphWriter()
    x = writer.conv_relu(writer.pixels(), 1, 8)
    twice = writer.conv(x, 8, 8)
    x = writer.node("Mul", [writer.node("Add", [x, twice]), twice])
    writer.classify(writer.mean(x, 2, 3), 8)
    assert ends_of_additions(made_of(writer.model(), "gpu")) == [["Relu", "Conv"]]


# products of matrices

def test_a_matmul_has_a_scale_for_each_column_of_its_weights() -> None:
    model = tokens_graph()
    made, floats = made_of(model, "gpu"), Graph(model)
    products = [n for n in made.nodes if n.op_type == "MatMul"]
    for product in products:
        dequantize = made.producers[product.input[1]]
        wanted = np.abs(floats.weight(dequantize.input[0].removesuffix("_q"))).max(axis=0) / 127
        assert attribute(dequantize, "axis", 0) == 1
        assert made.weight(dequantize.input[1]) == pytest.approx(wanted, rel=1e-3)
        assert made.producers[product.input[0]].op_type == "DequantizeLinear"
    assert len(products) == 2


@both_forms
def test_a_product_of_two_activations_stays_float(form: str) -> None:
    writer = GraphWriter()
    x = writer.node("Reshape", [writer.pixels(), writer.constant("to", np.array([0, 16, 16]))])
    product = writer.node("MatMul", [x, x])
    rows = writer.node("MatMul", [product, writer.floats("matrix", 16, 8)])
    writer.classify(writer.mean(rows, 1), 8)
    chosen = plan(writer.model())
    made = made_of(writer.model(), form)
    own = next(n for n in made.nodes if n.output[0] == product)
    assert own.name not in chosen.nodes and len(chosen.nodes) == 2
    assert {made.producers[tensor].op_type for tensor in own.input} == {"Reshape"}


def test_onnx_runtime_multiplies_matrices_of_integers(tmp_path: Path) -> None:
    model = tokens_graph()
    assert optimized_kinds(made_of(model, "cpu").model, tmp_path).count("MatMulIntegerToFloat") == 2
