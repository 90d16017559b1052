"""The lint: every rule against a graph that breaks it and one that does not, and against NVIDIA's real compiler."""

from __future__ import annotations

import builtins
import importlib.util
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from broken_graphs import CASES, CONV, GOOD, INT8, INT8_WEIGHTS, ROUNDED, external, floats, graph, int8
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from tiny_graphs import random_faces, residual_graph, tokens_graph, vgg_graph

from calibration.lint import RULES, TARGETS, Finding, advice_for, lint
from calibration.quantize import Form, plan, quantize
from export.half_from_onnx import half_from_onnx
from runtime.card import MODELS
from runtime.engines.tensorrt_api import load_compiler
from runtime.engines.tensorrt_builder import build_engine
from runtime.errors import BadInput, MienError

ROOT = Path(__file__).resolve().parents[2]
needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None,
                               reason='tensorrt_rtx is not installed: pip install "mien[rtx]" (x86-64 only)')
BY_ID = {rule.id: rule for rule in RULES}
every_rule = pytest.mark.parametrize("rule", sorted(BY_ID))
# Errors that the compiler lets pass, for it does not look at numbers; and the warning that it refuses only because mien
# hands it bytes, without the folder they came from
NOT_THE_COMPILERS = {"weights-not-finite", "external-data"}


def ids(findings: Sequence[Finding]) -> set[str]:
    return {finding.rule.id for finding in findings}


def errors(findings: Sequence[Finding]) -> set[str]:
    return {finding.rule.id for finding in findings if finding.rule.severity == "error"}


def compiler_says(model: onnx.ModelProto) -> str:
    """Compile for sm86 with batches of 1, 2 and 4; return what the compiler has against it, or ''."""
    return _compiler_says(model.SerializeToString(deterministic=True))


@cache
def _compiler_says(content: bytes) -> str:
    model, profile = onnx.load_model_from_string(content), {}
    for info in model.graph.input:
        tensor = info.type.tensor_type
        dims = [d.dim_value or None for d in tensor.shape.dim] if tensor.HasField("shape") else [None, 32, 8, 8]
        if None in dims:
            free = [[size if index == 0 else 8 for index in range(len(dims))] for size in (1, 2, 4)]
            profile[info.name] = tuple([d or free[i][k] for k, d in enumerate(dims)] for i in range(3))
    try:
        build_engine(content, "tensorrt-rtx", "sm86", profile, 1 << 28)  # type: ignore[arg-type]
    except MienError as error:
        return str(error)
    return ""


# the rules

def test_every_rule_has_a_graph_that_breaks_it_and_one_that_does_not() -> None:
    assert set(CASES) == set(BY_ID) and len(BY_ID) == len(RULES)


@every_rule
def test_a_broken_graph_is_found_where_it_is_broken(rule: str) -> None:
    assert CASES[rule].place in [f.node for f in lint(CASES[rule].broken) if f.rule.id == rule]


@every_rule
def test_the_mended_graph_keeps_the_rule(rule: str) -> None:
    assert rule not in ids(lint(CASES[rule].mended))


@every_rule
def test_a_mended_graph_has_no_error_at_all(rule: str) -> None:
    assert errors(lint(CASES[rule].mended)) == set()


@every_rule
def test_a_rule_says_its_fix_and_its_source(rule: str) -> None:
    assert BY_ID[rule].fix and BY_ID[rule].demands and BY_ID[rule].source.startswith("https://")


def test_a_good_graph_has_no_finding() -> None:
    assert lint(GOOD) == ()


def test_findings_come_worst_first() -> None:
    model = graph(INT8.replace("(xq, s", "(xq, s2"), INT8_WEIGHTS | {"s2": np.array(0.1, np.float32),
                                                                    "z": np.array(3, np.int8)})
    found = [finding.rule.severity for finding in lint(model)]
    assert found == sorted(found, key=["error", "warning", "note"].index) and found[0] == "error"


def test_the_model_that_is_judged_is_not_changed() -> None:
    model = int8()
    before = model.SerializeToString(deterministic=True)
    lint(model)
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("wrap", ["If", "Loop"])
def test_a_branch_and_a_loop_body_are_judged_too(wrap: str) -> None:
    inner = "q = QuantizeLinear(x, s, z)\na = DequantizeLinear(q, s, z)"
    text = {
        "If": f"y = If (t) <then_branch = g () => (float[batch,32,8,8] a) {{ {inner} }}, "
              "else_branch = h () => (float[batch,32,8,8] e) { e = Neg(x) }>",
        "Loop": "y = Loop (n, t, x) <body = g (int64 i, bool k, float[batch,32,8,8] v) => "
                f"(bool m, float[batch,32,8,8] a) {{ m = Identity(k)\n{inner} }}>",
    }[wrap]
    weights = {"t": np.array(True), "s": np.array(0.05, np.float32), "z": np.array(3, np.int8)}
    if wrap == "Loop":
        weights["n"] = np.array(2)
    found = [f for f in lint(graph(text, weights)) if f.rule.id == "zero-point"]
    assert {f.node.split("/")[0] for f in found} == {f"{wrap}_0"} and len(found) == 2


@pytest.mark.parametrize(("node", "target", "needs_plugin"), [
    ("com.microsoft.Gelu", "tensorrt-rtx", False),  # the parser goes by the name, and Gelu has an importer
    ("com.microsoft.QuickGelu", "tensorrt-rtx", True),
    ("acme.EfficientNMS_TRT", "tensorrt-rtx", True), ("acme.EfficientNMS_TRT", "jetson-orin", False)])
def test_a_foreign_operator_needs_a_plugin_unless_the_target_has_it(node: str, target: str, needs_plugin: bool) -> None:
    model = graph(f"y = {node}(x)", imports=', "com.microsoft": 1, "acme": 1')
    assert ("plugin" in ids(lint(model, target))) is needs_plugin
    if target == "tensorrt-rtx" and importlib.util.find_spec("tensorrt_rtx"):
        assert bool(compiler_says(model)) is needs_plugin


def test_a_branch_inside_a_local_function_is_judged_too() -> None:
    model = graph("y = mine.bad(x)", imports=', "mine": 1', functions=(
        '<domain: "mine", opset_import: ["": 20]> bad (a) => (b) {\nt = Constant<value_int=1>()\nc = Cast<to=9>(t)\n'
        "b = If (c) <then_branch = g () => (d) { d = Bernoulli(a) }, else_branch = h () => (e) { e = Neg(a) }>\n}"))
    assert "operator" in errors(lint(model))


def test_a_local_function_is_known_and_judged_too() -> None:
    model = graph("y = mine.bad(x)", imports=', "mine": 1',
                  functions='<domain: "mine", opset_import: ["": 20]> bad (a) => (b) { b = Bernoulli(a) }')
    assert errors(lint(model)) == {"operator"}


@pytest.mark.parametrize(("target", "found"), [("tensorrt", True), ("jetson-orin", True), ("tensorrt-rtx", False)])
def test_the_opset_is_judged_for_the_target(target: str, found: bool) -> None:
    assert ("opset" in ids(lint(CASES["opset"].broken, target))) is found


def test_an_unknown_target_names_those_that_are_known() -> None:
    with pytest.raises(BadInput, match=r"tensorrt, jetson-orin, tensorrt-rtx, found tpu"):
        lint(GOOD, "tpu")


def test_a_constant_node_is_a_weight() -> None:
    model = graph("p = Constant<value_int=0>()\ns = Constant<value = float {0.0}>()\n"
                  "q = QuantizeLinear(x, s, z)\ny = DequantizeLinear(q, s, z)", {"z": np.array(0, np.int8)})
    assert "scale-not-positive" in ids(lint(model))


@pytest.mark.parametrize("kind", ["Relu", "Clip", "LeakyRelu"])
def test_every_activation_that_fuses_is_held_to_its_convolution(kind: str) -> None:
    model = CASES["fusion-relu"].broken.SerializeToString()
    changed = onnx.load_model_from_string(model)
    changed.graph.node[-1].op_type = kind
    assert "fusion-relu" in ids(lint(changed))


def test_an_addition_between_convolution_and_relu_does_not_hide_a_q() -> None:
    nodes = "a = Add(c, xd)\naq = QuantizeLinear(a, s, z)\nad = DequantizeLinear(aq, s, z)\ny = Relu(ad)"
    assert "fusion-relu" in ids(lint(int8(CONV + nodes)))


def test_one_relu_of_unequal_scales_makes_it_no_cpu_form() -> None:
    first = "r = Relu(cd)\nrq = QuantizeLinear(r, s, z)\nrd = DequantizeLinear(rq, s, z)\n"
    second = ("e = Conv<pads=[1,1,1,1]>(rd, wd, b)\neq = QuantizeLinear(e, s, z)\ned = DequantizeLinear(eq, s, z)\n"
              "t = Relu(ed)\ntq = QuantizeLinear(t, {0}, z)\ny = DequantizeLinear(tq, {0}, z)")
    for scale, expected in (("s", "cpu-form"), ("other", "fusion-relu")):
        found = ids(lint(int8(ROUNDED + first + second.format(scale), other=np.array(0.1, np.float32))))
        assert {"fusion-relu", "cpu-form"} & found == {expected}


def test_a_q_before_nodes_that_move_values_is_no_q_without_dq() -> None:
    moves = "p = MaxPool<kernel_shape=[2,2]>(q)\nf = Flatten(p)\n"
    model = graph(f"q = QuantizeLinear(x, s, z)\n{moves}y = DequantizeLinear(f, s, z)",
                  {"s": np.array(0.05, np.float32), "z": np.array(0, np.int8)}, writes="float[batch,k] y")
    assert {"q-without-dq", "dq-without-q"} & ids(lint(model)) == set()


@pytest.mark.parametrize("location", ["/etc/w.bin", "../w.bin", "a/../../w.bin", "C:\\w.bin", "..\\w.bin", ""])
def test_a_path_that_leaves_the_folder_is_an_error(location: str) -> None:
    assert "external-data-outside" in ids(lint(graph("y = Add(x, w)", {"w": external(location)})))


def test_external_data_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.bin").write_bytes(np.full(8, np.nan, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    opened: list[object] = []
    really_open = builtins.open
    monkeypatch.setattr(builtins, "open", lambda *a, **k: opened.append(a[0]) or really_open(*a, **k))
    found = lint(graph("y = Add(x, w)", {"w": external("w.bin")}))
    assert opened == [] and ids(found) == {"external-data"}  # the NaN inside was not seen


def test_a_weight_of_ordinary_size_fits_half() -> None:
    assert "half-overflow" not in ids(lint(graph("y = Add(x, w)", {"w": 65504 * np.sign(floats(8))})))


# the compiler

@needs_rtx
@every_rule
def test_the_compiler_does_with_a_broken_graph_what_the_rule_says(rule: str) -> None:
    said = compiler_says(CASES[rule].broken)
    assert ("rejected" if said else "accepted") == BY_ID[rule].confirmed, said


@needs_rtx
@every_rule
def test_the_compiler_takes_the_mended_graph(rule: str) -> None:
    assert compiler_says(CASES[rule].mended) == ""


@every_rule
def test_an_error_is_what_the_compiler_rejects(rule: str) -> None:
    if rule not in NOT_THE_COMPILERS:
        assert (BY_ID[rule].severity == "error") == (BY_ID[rule].confirmed == "rejected")


@needs_rtx
@pytest.mark.parametrize("between", ["Identity(c)", "Transpose(c)", "Cast<to=1>(c)"])
def test_an_int8_constant_that_another_node_reads_first_is_an_error_to_both(between: str) -> None:
    last = "y = Mul(x, e)" if "Cast" in between else "k = DequantizeLinear(e, s, z)\ny = Mul(x, k)"
    weights = {"c": np.full(8, 3, np.int8), "s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    model = graph(f"e = {between}\n{last}", weights)
    assert errors(lint(model)) == {"int8-constant"} and "only allowed before DQ" in compiler_says(model)


@needs_rtx
def test_the_operators_without_importer_are_those_the_parser_names() -> None:
    library = load_compiler("tensorrt-rtx")

    class Silent(library.ILogger):
        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, severity: object, message: str) -> None:
            pass

    logger = Silent()
    network = library.Builder(logger).create_network(0)
    parser = library.OnnxParser(network, logger)
    names = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    assert {name for name in names if not parser.supports_operator(name)} == TARGETS["tensorrt-rtx"].missing


class Faces(CalibrationDataReader):
    """Eight faces, one at a time, as ONNX Runtime's tool asks for them."""

    def __init__(self) -> None:
        self.left = [{"faces": face[None]} for face in random_faces(8)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


def quantize_with_onnxruntime(place: Path, **options: object) -> onnx.ModelProto:
    """Return ONNX Runtime's INT8 graph of small-vgg's topology."""
    onnx.save(vgg_graph(), place / "fp32.onnx")
    quantize_static(place / "fp32.onnx", place / "int8.onnx", Faces(), quant_format=QuantFormat.QDQ, **options)
    return onnx.load(place / "int8.onnx")


@pytest.fixture(scope="module")
def onnxruntimes(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """ONNX Runtime's own choice of everything."""
    return quantize_with_onnxruntime(tmp_path_factory.mktemp("ort"))


def test_onnx_runtimes_default_graph_fails_for_its_int32_bias(onnxruntimes: onnx.ModelProto) -> None:
    biases = {n.input[2] for n in onnxruntimes.graph.node if n.op_type in ("Conv", "Gemm")}
    expected = {n.name for n in onnxruntimes.graph.node if n.output[0] in biases}
    assert {f.node for f in lint(onnxruntimes) if f.rule.id == "bias-int32"} == expected and len(expected) == 4


@needs_rtx
def test_the_compiler_rejects_it_at_a_node_the_lint_names(onnxruntimes: onnx.ModelProto) -> None:
    said = compiler_says(onnxruntimes)
    advice = advice_for(said, lint(onnxruntimes))
    assert "Int32" in said and "bias-int32" in ids(advice)
    assert all(finding.node in said for finding in advice)


@needs_rtx
@pytest.mark.parametrize("kinds", [None, ["Conv", "Gemm"]], ids=["everything", "weighted"])
@pytest.mark.parametrize("pair", [False, True], ids=["int8-weights", "float-weights"])
@pytest.mark.parametrize("bias", [False, True], ids=["float-bias", "int32-bias"])
@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
def test_lint_and_compiler_agree_on_whatever_onnx_runtime_makes(symmetric: bool, bias: bool, pair: bool,
                                                                kinds: list[str] | None, tmp_path: Path) -> None:
    model = quantize_with_onnxruntime(
        tmp_path, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, per_channel=True,
        op_types_to_quantize=kinds, extra_options={"ActivationSymmetric": symmetric, "QuantizeBias": bias,
                                                   "AddQDQPairToWeight": pair})
    said, found = compiler_says(model), lint(model, "tensorrt-rtx")
    assert bool(errors(found)) == bool(said), said
    # the constant is there whether the weights are integers or go through a Q, unless the pixels' scale stays float
    assert bool(said) == (not symmetric or bias or (kinds is None and not pair))


def test_advice_is_of_the_node_that_the_parser_names() -> None:
    findings = lint(CASES["zero-point"].broken)
    assert {f.node for f in findings} == {"QuantizeLinear_0", "DequantizeLinear_1"}
    advice = advice_for("QuantizeLinear_0: refused; QuantizeLinear_01 and XDequantizeLinear_1 too", findings)
    assert [finding.node for finding in advice] == ["QuantizeLinear_0"]
    assert len(advice_for("DequantizeLinear_12 is refused", findings)) == 2


def test_an_error_at_no_known_node_is_advised_on_with_every_error() -> None:
    findings = lint(CASES["zero-point"].broken)
    assert ids(advice_for("the parser gave no reason", findings)) == {"zero-point"}


# the project's own graphs

@pytest.mark.parametrize("target", sorted(TARGETS))
@pytest.mark.parametrize("name", ["fp32", "fp16", "int8", "int8-gpu"])
def test_the_shipped_graphs_have_no_error(name: str, target: str) -> None:
    assert errors(lint(onnx.load(MODELS / "mien-light" / f"{name}.onnx"), target)) == set()


def test_the_shipped_gpu_form_is_warned_of_its_one_input_channel_only() -> None:
    found = lint(onnx.load(MODELS / "mien-light" / "int8-gpu.onnx"))
    assert [(f.rule.id, f.found) for f in found] == [("channels-4", "1 input channel")]


def test_each_form_is_known_for_what_it_is(quantized) -> None:
    assert "cpu-form" in ids(lint(quantized.forms["cpu"])) and "fusion-relu" not in ids(lint(quantized.forms["cpu"]))
    assert {"cpu-form", "fusion-relu"} & ids(lint(quantized.forms["gpu"])) == set()


def test_neither_form_has_an_error(quantized) -> None:
    assert errors(lint(quantized.forms["cpu"])) | errors(lint(quantized.forms["gpu"])) == set()


@pytest.mark.parametrize("form", ["cpu", "gpu"])
@pytest.mark.parametrize("write", [residual_graph, tokens_graph])
def test_our_residual_additions_and_products_keep_every_rule_on_rounding(
        write: Callable[[], onnx.ModelProto], form: Form) -> None:
    model = write()
    chosen = plan(model)
    made = quantize(model, chosen, dict.fromkeys(chosen.tensors, np.float32(0.0625)), form)
    assert ids(lint(made)) <= {"channels-4", "channels-32", "cpu-form"}


@needs_rtx
@pytest.mark.parametrize("write", [residual_graph, tokens_graph])
def test_the_compiler_takes_our_residual_additions_and_products(write: Callable[[], onnx.ModelProto]) -> None:
    model = write()
    chosen = plan(model)
    made = quantize(model, chosen, dict.fromkeys(chosen.tensors, np.float32(0.0625)), "gpu")
    assert compiler_says(half_from_onnx(made)) == ""
