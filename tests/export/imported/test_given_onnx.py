"""Anyone's ONNX file is read strictly: each thing that is not as it must be, in one line that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from given_networks import FIXED, FREE, SIDE, WIDTH, given_graph, save_given
from onnx import TensorProto, helper, numpy_helper

from export.imported.given_onnx import given_logits, read_given
from runtime.errors import BadInput

Change = Callable[[onnx.ModelProto], None]


def test_sizes_and_classes_are_the_graphs(tmp_path: Path) -> None:
    given = read_given(save_given(tmp_path / "n.onnx", given_graph(3, FIXED)))
    assert (given.channels, given.height, given.width, given.classes) == (3, SIDE, SIDE, 7)
    assert not given.batch_is_free and not given.is_uint8 and given.opset == 17 and given.left_out == ""


def test_a_batch_of_any_size_is_free(tmp_path: Path) -> None:
    assert read_given(save_given(tmp_path / "n.onnx", given_graph(1, FREE))).batch_is_free


def test_a_last_softmax_is_left_out_for_the_logits_before_it(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).normal(size=(2, 3, SIDE, SIDE)).astype(np.float32)
    plain = read_given(save_given(tmp_path / "n.onnx", given_graph()))
    softmax = helper.make_node("Softmax", ["scores"], ["y"], axis=1)
    given = read_given(save_given(tmp_path / "p.onnx", given_graph(ends_in=softmax)))
    assert given.left_out == "Softmax"
    assert np.array_equal(given_logits(given, picture), given_logits(plain, picture))


def input_type(kind: int, *shape: int | str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, shape))
    return change


def another_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))


def another_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("row", TensorProto.FLOAT, ["n", WIDTH]))


def weight(name: str, index: int, value: float) -> Change:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(w for w in model.graph.initializer if w.name == name)
        values = numpy_helper.to_array(tensor).copy()
        values.flat[index] = value
        tensor.CopyFrom(numpy_helper.from_array(values, name))
    return change


def outside_the_file(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")


def opset(version: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version
    return change


def someone_elses_operator(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node[1].CopyFrom(helper.make_node("Gelu", ["c0"], ["r0"], domain="com.microsoft"))


def quantized(model: onnx.ModelProto) -> None:
    model.graph.initializer.extend([numpy_helper.from_array(np.float32(0.1), "scale"),
                                    numpy_helper.from_array(np.int8(0), "zero")])
    pair = [helper.make_node("QuantizeLinear", ["c0", "scale", "zero"], ["q"], name="stem/q"),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"])]
    model.graph.node[1].input[0] = "dq"
    nodes = [model.graph.node[0], *pair, *model.graph.node[1:]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def in_halves(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(2, np.float16), "half"))


def ends_early(model: onnx.ModelProto) -> None:
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["n", WIDTH, 1, 1]))


@pytest.mark.parametrize(("change", "words"), [
    (another_input, "one input and one output .* found x and mask and y"),
    (another_output, "found x and y and row"),
    (weight("w1", 5, np.nan), "finite weights .* in w1"), (weight("w2", 0, np.inf), "finite weights .* in w2"),
    (outside_the_file, "all weights inside .* external data"),
    (opset(8), "opset 9–20 .* found 8; export with opset_version=20"), (opset(21), "opset 9–20 .* found 21"),
    (someone_elses_operator, "standard ONNX operators .* com.microsoft"),
    (quantized, r"float32 graph .* QuantizeLinear \(stem/q\): it is quantized already"),
    (in_halves, "float32 weights .* float16 in half"),
    (input_type(TensorProto.DOUBLE, "n", 3, SIDE, SIDE), "float32 or uint8 pictures .* double"),
    (input_type(TensorProto.FLOAT, "n", SIDE, SIDE, 3), "1 or 3 channels .* n×16×16×3"),
    (input_type(TensorProto.FLOAT, "n", 3, "h", "w"), "fixed height and width .* n×3×h×w; only the batch may be free"),
    (input_type(TensorProto.FLOAT, 4, 3, SIDE, SIDE), "batch that is free, or 1, .* found 4; .*dynamic_axes"),
    (ends_early, "float32 logits of N×classes .* 1×8×1×1")])
def test_what_is_no_network_for_a_face_is_refused_in_one_line(tmp_path: Path, change: Change, words: str) -> None:
    model = given_graph()
    change(model)
    with pytest.raises(BadInput, match=words) as raised:
        read_given(save_given(tmp_path / "n.onnx", model))
    assert len(str(raised.value).splitlines()) == 1 and str(tmp_path / "n.onnx") in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"no graph", None])
def test_no_graph_at_all_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "n.onnx").write_bytes(content)
    with pytest.raises(BadInput, match="expected a"):
        read_given(tmp_path / "n.onnx")
