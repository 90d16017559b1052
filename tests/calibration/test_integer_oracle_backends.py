"""The shipped model before the oracle: ONNX Runtime is legal, planted defects are not, both forms are one network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_graphs import vgg_graph

from calibration.integer_oracle import (
    AS_WRITTEN,
    FUSED,
    ONNX_RUNTIME,
    WIDENED,
    Backend,
    Oracle,
    Verdict,
    exact_outputs,
    judge,
    legal_bound,
)
from calibration.integer_oracle.witness import _fused, ask_onnxruntime
from calibration.onnx_graph import Graph, parse_model
from calibration.quantize import plan, quantize
from calibration.ranges import scale_of
from runtime.card import Model, load_model
from runtime.engines import open_graph_on_cpu

BROKEN = "node_Conv_160"  # the fourth convolution: defects are planted in the middle of the network
FACES = 4


@pytest.fixture(scope="module")
def shipped() -> Model:
    """The model that ships."""
    return load_model(Path("mien-light"))


@pytest.fixture(scope="module")
def graphs(shipped: Model) -> dict[str, onnx.ModelProto]:
    """Both INT8 files that ship."""
    return {name: parse_model(shipped.read_graph(name), name) for name in ("int8", "int8-gpu")}


@pytest.fixture(scope="module")
def faces(fer2013) -> np.ndarray:
    """Real faces that nothing was trained, calibrated or chosen on, (4, 1, 48, 48) uint8."""
    return fer2013.split("PrivateTest").images[:FACES, None]


@pytest.fixture(scope="module")
def as_written(graphs: dict[str, onnx.ModelProto], faces: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """What ONNX Runtime says of each file, nothing fused."""
    return {name: ask_onnxruntime(model, faces, fuse=False) for name, model in graphs.items()}


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def weights_of(model: onnx.ModelProto, layer: str) -> onnx.TensorProto:
    """Return the int8 weights of a convolution, inside the model."""
    graph = Graph(model)
    conv = next(n for n in graph.nodes if n.name == layer)
    integers = graph.producers[conv.input[1]].input[0]
    return next(w for w in model.graph.initializer if w.name == integers)


def differing(verdict: Verdict) -> int:
    return sum(f.differing for f in verdict.findings)


# ONNX Runtime is legal

def test_every_integer_of_onnx_runtime_is_legal_as_the_graph_is_written(graphs, faces, as_written) -> None:
    verdict = judge(Oracle(graphs["int8"], AS_WRITTEN), faces, as_written["int8"])
    assert verdict.first is None
    assert {f.tensor for f in verdict.findings} == {*Oracle(graphs["int8"], AS_WRITTEN).quantizers, "logits"}
    undecided = sum(f.undecided for f in verdict.findings if f.integer)
    assert undecided < 0.02 * sum(f.elements for f in verdict.findings)  # the rest has one legal value only


def test_every_integer_of_onnx_runtimes_fused_convolutions_is_legal(graphs, faces) -> None:
    seen = ask_onnxruntime(graphs["int8"], faces, fuse=True)
    verdict = judge(Oracle(graphs["int8"], ONNX_RUNTIME), faces, seen)
    assert verdict.first is None
    convolutions = {n.name for n in graphs["int8"].graph.node if n.op_type == "Conv"}
    judged = {f.layer for f in verdict.findings}
    assert len(convolutions) == 10 and convolutions <= judged
    assert 0 < differing(verdict) < 0.001 * sum(f.elements for f in verdict.findings)


def test_the_fused_graph_whose_integers_are_seen_gives_the_logits_that_ship(shipped, graphs, faces) -> None:
    exposed = _fused(graphs["int8"])
    assert [n.op_type for n in exposed.graph.node].count("QLinearConv") == 10
    session = onnxruntime.InferenceSession(exposed.SerializeToString())
    wanted = open_graph_on_cpu(shipped, "int8").run({"faces": faces})["logits"]
    assert np.array_equal(session.run(["logits"], {"faces": faces})[0], wanted)
    assert np.array_equal(ask_onnxruntime(graphs["int8"], faces, fuse=True)["logits"], wanted)


def test_rounded_biases_are_what_onnx_runtimes_fusions_need(graphs, faces) -> None:
    said = ask_onnxruntime(graphs["int8"], faces[:1], fuse=True)
    assert not judge(Oracle(graphs["int8"], FUSED), faces[:1], said).legal
    assert judge(Oracle(graphs["int8"], ONNX_RUNTIME), faces[:1], said).legal


def test_every_integer_of_the_gpu_form_is_legal_in_half_precision_or_wider(graphs, faces, as_written) -> None:
    verdict = judge(Oracle(graphs["int8-gpu"], WIDENED), faces, as_written["int8-gpu"])
    assert verdict.first is None
    assert 0 < differing(verdict) < 0.01 * sum(f.elements for f in verdict.findings)


def test_onnx_runtimes_fusions_on_the_gpu_form_are_illegal_for_every_backend(graphs, faces) -> None:
    said = ask_onnxruntime(graphs["int8-gpu"], faces[:1], fuse=True)  # biases underflow, docs/decisions.md
    for backend in (AS_WRITTEN, WIDENED, FUSED, ONNX_RUNTIME):
        assert not judge(Oracle(graphs["int8-gpu"], backend), faces[:1], said).legal


@pytest.mark.parametrize(("fuse", "backend"), [(False, AS_WRITTEN), (True, ONNX_RUNTIME)], ids=["as-written", "fused"])
def test_tiny_graphs_of_every_shape_are_legal_too(quantized, faces, fuse: bool, backend: Backend) -> None:
    model, small = quantized.forms["cpu"], np.ascontiguousarray(faces[:, :, ::3, ::3])
    assert judge(Oracle(model, backend), small, ask_onnxruntime(model, small, fuse)).first is None


# planted defects

def halve_a_scale(model: onnx.ModelProto) -> None:
    scale = next(w for w in model.graph.initializer if w.name == weights_of(model, BROKEN).name[:-2] + "_s")
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) / 2, scale.name))


def flip_a_weight(model: onnx.ModelProto) -> None:
    tensor = weights_of(model, BROKEN)
    integers = numpy_helper.to_array(tensor).copy()
    largest = np.unravel_index(np.abs(integers.astype(int)).argmax(), integers.shape)
    integers[largest] = -integers[largest]
    tensor.CopyFrom(numpy_helper.from_array(integers, tensor.name))


def change_a_weight_by_one(model: onnx.ModelProto) -> None:
    tensor = weights_of(model, BROKEN)
    integers = numpy_helper.to_array(tensor).copy()
    integers[5, 7, 1, 1] += 1 if integers[5, 7, 1, 1] < 127 else -1
    tensor.CopyFrom(numpy_helper.from_array(integers, tensor.name))


def drop_a_bias(model: onnx.ModelProto) -> None:
    conv = next(n for n in model.graph.node if n.name == BROKEN)
    del conv.input[2]


def truncate(model: onnx.ModelProto) -> None:
    replace_rounding(model, BROKEN, [helper.make_node("Identity", ["quotient"], ["rounded"])])  # Cast cuts off


HALF_AWAY_FROM_ZERO = [
    helper.make_node("Abs", ["quotient"], ["magnitude"]), helper.make_node("Add", ["magnitude", "half"], ["more"]),
    helper.make_node("Floor", ["more"], ["whole"]), helper.make_node("Sign", ["quotient"], ["sign"]),
    helper.make_node("Mul", ["whole", "sign"], ["rounded"]),
]


def replace_rounding(model: onnx.ModelProto, layer: str, steps: list[onnx.NodeProto]) -> None:
    """Write the Q behind a layer as ÷ scale, the steps from `quotient` to `rounded`, a clip and a Cast."""
    graph = Graph(model)
    output = next(n for n in graph.nodes if n.name == layer).output[0]
    q = next(n for n in graph.reads(output) if n.op_type == "QuantizeLinear")
    model.graph.initializer.extend(numpy_helper.from_array(np.float32(value), name) for name, value in
                                   (("half", 0.5), ("least", -128), ("most", 127)))
    nodes = [helper.make_node("Div", [q.input[0], q.input[1]], ["quotient"]), *steps,
             helper.make_node("Clip", ["rounded", "least", "most"], ["clipped"]),
             helper.make_node("Cast", ["clipped"], [q.output[0]], to=TensorProto.INT8)]
    at = next(i for i, n in enumerate(model.graph.node) if n.output[0] == q.output[0])
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*kept[:at], *nodes, *kept[at + 1 :]])


@pytest.mark.parametrize("defect", [halve_a_scale, flip_a_weight, change_a_weight_by_one, drop_a_bias, truncate])
def test_a_planted_defect_is_found_and_its_layer_named(
        graphs, faces, defect: Callable[[onnx.ModelProto], None]) -> None:
    broken = copy_of(graphs["int8"])
    defect(broken)
    oracle = Oracle(graphs["int8"], AS_WRITTEN)
    rounded = Graph(graphs["int8"]).reads(next(n for n in broken.graph.node if n.name == BROKEN).output[0])[0].output[0]
    seen = ask_onnxruntime(expose_also(broken, oracle), faces, fuse=False)
    first = judge(oracle, faces, {name: seen[name] for name in (*oracle.quantizers, "logits")}).first
    assert first is not None and (first.layer, first.tensor) == (BROKEN, rounded)
    assert "expected " in first.first and "found " in first.first


def expose_also(model: onnx.ModelProto, oracle: Oracle) -> onnx.ModelProto:
    """Name as outputs also the integers that no Q makes any more."""
    made = {n.output[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    for name in oracle.quantizers:
        if name not in made:
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT8, None))
    return model


def test_sums_that_saturate_in_16_bits_are_found(graphs, faces) -> None:
    """As AVX2 without VNNI adds pairs of u8·s8 products: the model's integers, one layer summed anew."""
    seen = ask_onnxruntime(graphs["int8"], faces[:1], fuse=True)
    graph = Graph(graphs["int8"])
    conv = next(n for n in graph.nodes if n.name == BROKEN)
    before = graph.producers[conv.input[0]]
    output = graph.reads(conv.output[0])[0]
    w = graph.weight(graph.producers[conv.input[1]].input[0]).astype(np.int64)
    scales = graph.weight(before.input[1]) * graph.weight(graph.producers[conv.input[1]].input[1])
    x = np.pad(seen[before.input[0]].astype(np.int64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))[0].transpose(1, 2, 0, 3, 4)
    columns, rows = windows.reshape(windows.shape[0] * windows.shape[1], -1), w.reshape(len(w), -1)

    def requantized(most: int) -> np.ndarray:
        products = (columns[:, None] + 128) * rows  # s8 as u8 and an offset, which is subtracted again
        pairs = np.clip(products[..., 0::2] + products[..., 1::2], -most - 1, most)
        sums = pairs.sum(-1) - 128 * rows.sum(1)
        real = (sums * scales + graph.weight(conv.input[2])) / graph.weight(output.input[1])
        return np.clip(np.rint(real), -128, 127).astype(np.int8).T.reshape(seen[output.output[0]].shape)

    oracle = Oracle(graphs["int8"], ONNX_RUNTIME)
    wanted = {name: values for name, values in seen.items() if name in (before.input[0], output.output[0])}
    for most, legal in ((2**31 - 1, True), (2**15 - 1, False)):
        verdict = judge(oracle, faces[:1], wanted | {output.output[0]: requantized(most)})
        assert verdict.legal == legal
    assert verdict.first is not None and verdict.first.layer == BROKEN


@pytest.mark.parametrize("backend", [AS_WRITTEN, FUSED], ids=lambda b: b.name)
def test_rounding_half_away_from_zero_is_found_where_ties_are(backend: Backend, faces) -> None:
    """Pixels / 64 - 2 at a scale of 1/32 are ties at every odd pixel."""
    model = parse_model(vgg_graph().SerializeToString(), "tiny")
    chosen = plan(model)
    exact = quantize(model, chosen, dict.fromkeys(chosen.tensors, scale_of(127 / 32)), "cpu")
    broken, small = copy_of(exact), np.ascontiguousarray(faces[:, :, ::3, ::3])
    replace_rounding(broken, "Add_2", HALF_AWAY_FROM_ZERO)
    oracle, pixels = Oracle(exact, backend), "Add_2_out_q"
    right = ask_onnxruntime(exact, small, fuse=False)
    wrong = ask_onnxruntime(expose_also(broken, oracle), small, fuse=False)
    assert judge(oracle, small, {pixels: right[pixels]}).legal
    first = judge(oracle, small, {pixels: wrong[pixels]}).first
    from_zero = np.abs(small.astype(int) - 128)  # in halves of a step: 1, 5, 9, … go to the nearer even number
    assert first is not None and (first.layer, first.illegal) == ("Add_2", (from_zero % 4 == 1).sum())


# both forms are one network

def test_both_files_hold_the_same_weights_and_scales(graphs) -> None:
    cpu, gpu = ({w.name: numpy_helper.to_array(w) for w in graphs[name].graph.initializer} for name in graphs)
    integers = [name for name in cpu if name.endswith("_q")]
    assert len(integers) == 11 and all(np.array_equal(cpu[name], gpu[name]) for name in integers)
    scales = [name for name in cpu if name.endswith(("_s", "_scale"))]
    assert len(scales) == 11 + 12
    assert all(np.array_equal(cpu[name], gpu.get(f"{name}_half", gpu.get(name))) for name in scales)


@pytest.fixture(scope="module")
def float_forms(shipped: Model) -> dict[str, onnx.ModelProto]:
    """Both forms as they are before the GPU form is made half: their biases are the same floats."""
    fp32 = parse_model(shipped.read_graph("fp32"), "fp32.onnx")
    scales = {name: scale_of(threshold) for name, threshold in shipped.card.calibration["thresholds"].items()}
    chosen = plan(fp32)
    return {form: quantize(fp32, chosen, scales, form) for form in ("cpu", "gpu")}


def test_both_forms_give_equal_integers_at_every_common_q_in_exact_arithmetic(float_forms, faces) -> None:
    cpu, gpu = (Oracle(float_forms[form], FUSED) for form in ("cpu", "gpu"))
    common = set(cpu.quantizers) & set(gpu.quantizers)
    assert common == set(gpu.quantizers)  # every Q of the GPU form stands in the CPU form
    found = []
    for oracle in (cpu, gpu):
        found.append({})
        oracle.walk(faces, lambda name, legal: found[-1].setdefault(name, legal.exact))
    assert [name for name in common if not np.array_equal(found[0][name], found[1][name])] == []


def test_both_forms_give_equal_integers_at_every_common_q_in_onnx_runtime(float_forms, faces) -> None:
    cpu, gpu = (ask_onnxruntime(float_forms[form], faces, fuse=False) for form in ("cpu", "gpu"))
    assert len(gpu) == 12 + 1  # every Q, and the logits
    assert [name for name in gpu if not np.array_equal(cpu[name], gpu[name])] == []


def test_where_the_half_precision_file_says_another_integer_that_was_legal(graphs, faces, as_written) -> None:
    oracle = Oracle(graphs["int8-gpu"], WIDENED)
    common = {name: as_written["int8"][name] for name in oracle.quantizers}
    verdict = judge(oracle, faces, common)  # the CPU form's integers before the GPU form's oracle
    assert verdict.first is None and len(verdict.findings) == 12
    assert differing(verdict) > 0  # half-precision biases do move some real numbers over a boundary
    assert max(f.largest for f in verdict.findings) == 1


# a tolerance for the gate

def test_onnx_runtimes_logits_lie_within_what_legal_backends_show(graphs, faces) -> None:
    oracle = Oracle(graphs["int8"], ONNX_RUNTIME)
    said = ask_onnxruntime(graphs["int8"], faces[:2], fuse=True)["logits"]
    off = np.abs(said - exact_outputs(oracle, faces[:2])["logits"]).max()
    assert 0 < off <= legal_bound(oracle, faces[:2], draws=20)["logits"].max() < 0.1 * np.ptp(said)
