"""What nvinfer reads: a graph that takes its floats and gives probabilities, and a configuration that is the card's."""

from __future__ import annotations

import configparser
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import mien
from export.deepstream import deepstream_files, float_in_probabilities_out
from runtime.card import Model, load_model
from runtime.engines.compile import CompileRequest, compile_onnx
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput, BadModel
from runtime.expressions import probabilities_of

LIGHT = load_model(Path("mien-light"))


@pytest.mark.parametrize("graph", ["fp32", "int8-gpu"])
def test_the_probabilities_are_the_streams(graph: str) -> None:
    faces = LIGHT.read_golden().faces[:16]
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(float_in_probabilities_out(LIGHT, graph), options)
    (found,) = session.run(["probabilities"], {"faces": faces.astype(np.float32)})
    engine = OnnxRuntimeEngine(LIGHT.read_graph(graph), graph, "", fuse_qdq=False)
    logits = engine.run({"faces": faces})["logits"]
    np.testing.assert_allclose(found, probabilities_of(logits, LIGHT.card.temperature), atol=1e-6)
    assert not np.allclose(found, probabilities_of(logits), atol=1e-2)  # without the card's temperature they differ


def test_only_the_ends_of_the_graph_are_new() -> None:
    old, new = (onnx.load_model_from_string(content).graph for content in
                (LIGHT.read_graph("fp32"), float_in_probabilities_out(LIGHT, "fp32")))
    assert [node.op_type for node in new.node[len(old.node):]] == ["Div", "Softmax"]
    assert list(new.node[: len(old.node)]) == list(old.node)
    assert list(new.initializer[: len(old.initializer)]) == list(old.initializer)


def test_nvidias_parser_takes_it() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (mien[rtx])")
    content = float_in_probabilities_out(LIGHT, "int8-gpu")
    compiled = compile_onnx(content, CompileRequest("tensorrt-rtx", "sm86", "faces", (1, 48, 48), (1, 8, 8)))
    assert compiled.built.content


def options_of(files: dict[str, bytes]) -> dict[str, str]:
    read = configparser.ConfigParser(strict=True)  # GLib's key files, which nvinfer reads, are of this form
    read.read_string(files["nvinfer-expressions.txt"].decode())
    assert read.sections() == ["property"]
    return dict(read["property"])


@pytest.mark.parametrize(("precision", "mode"), [("fp32", "0"), ("int8", "1"), ("fp16", "2")])
def test_the_configuration_is_the_cards(precision: str, mode: str) -> None:
    files = deepstream_files(LIGHT, precision, 0.4, 8)
    told = options_of(files)
    graph = onnx.load_model_from_string(files["expressions.onnx"]).graph
    assert told["infer-dims"] == ";".join(str(d.dim_value) for d in graph.input[0].type.tensor_type.shape.dim[1:])
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert told["output-blob-names"] == graph.output[0].name
    # secondary, classifier, grey, and pixels as they are: the normalization is in the graph
    keys = ("process-mode", "network-type", "model-color-format", "net-scale-factor", "network-mode", "batch-size")
    assert [told[key] for key in keys] == ["2", "1", "2", "1", mode, "8"]
    assert not {"offsets", "mean-file"} & set(told)
    assert [name for name in (told["onnx-file"], told["labelfile-path"]) if name not in files] == []
    assert files["labels.txt"].decode() == "angry;disgust;fear;happy;sad;surprise;neutral\n"
    assert b"expressions.onnx" in files["build-plans.sh"] and told["model-engine-file"] == "expressions.engine"


def changed(**values: Any) -> Model:
    how = dataclasses.replace(LIGHT.card.input, **values)
    return dataclasses.replace(LIGHT, card=dataclasses.replace(LIGHT.card, input=how))


@pytest.mark.parametrize("values", [{"margin": 0.1}, {"equalize": True}, {"resize": 56},
                                    {"template": ((0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7), (0.7, 0.7))}])
def test_a_crop_that_nvinfer_cannot_make_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=f"found {next(iter(values))}"):
        deepstream_files(changed(**values), "fp32", 0.4, 8)


def test_a_label_with_a_semicolon_is_refused() -> None:
    card = dataclasses.replace(LIGHT.card, labels=("a;b", *LIGHT.card.labels[1:]))
    with pytest.raises(BadInput, match="semicolons"):
        deepstream_files(dataclasses.replace(LIGHT, card=card), "fp32", 0.4, 8)


def test_a_graph_whose_input_is_read_twice_is_refused() -> None:
    model = load_model(Path("mien-face"))  # its Shape reads the pixels' size
    with pytest.raises(BadModel, match="one Cast"):
        float_in_probabilities_out(model, "fp32")


@pytest.mark.parametrize("flag", ["--at-once=4", "--target=tensorrt", "--faces=mien-face", "--face-precision=int8",
                                  "--data=x"])
def test_flags_of_another_form_are_refused(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mien.main(["export", "mien-light", "--deepstream", str(tmp_path / "ds"), flag]) == 2
    assert f"found {flag.partition('=')[0]};" in capsys.readouterr().err and not (tmp_path / "ds").exists()


def test_the_command_writes_it_once(tmp_path: Path) -> None:
    arguments = ["export", "mien-light", "--deepstream", str(tmp_path / "ds"), "--precision", "int8"]
    assert [mien.main(arguments), mien.main(arguments)] == [0, 2]
    assert sorted(p.name for p in (tmp_path / "ds").iterdir()) == [
        "build-plans.sh", "expressions.onnx", "labels.txt", "nvinfer-expressions.txt"]
