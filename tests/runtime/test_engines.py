"""Engines: named arrays in, named arrays out, on the target that was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from tiny_model import TinyNetwork, write_tiny_card

from runtime.card import load_model
from runtime.engines import graph_for, open_engine
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput, BadModel, MienError
from runtime.golden import require_agreement


@pytest.mark.parametrize("count", [1, 4, 9])
def test_the_engine_gives_numpys_logits(tiny_model: Path, count: int) -> None:
    faces = np.random.default_rng(count).integers(0, 256, (count, 1, 48, 48), dtype=np.uint8)
    engine = open_engine(load_model(tiny_model), "fp32", "cpu")
    assert np.allclose(engine.run({"faces": faces})["logits"], TinyNetwork.random().logits(faces), atol=1e-4)


def test_auto_is_a_target_that_runs(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.engines.find_gpu", lambda root: "")  # with one: tests/runtime/engines
    assert open_engine(load_model(tiny_model), "fp32", "auto").target == "cpu"


def test_the_specs_name_inputs_and_outputs(tiny_model: Path) -> None:
    engine = open_engine(load_model(tiny_model), "fp32", "cpu")
    assert [(i.name, i.dtype, i.shape) for i in engine.inputs] == [("faces", np.uint8, (None, 1, 48, 48))]
    assert [(o.name, o.dtype, o.shape) for o in engine.outputs] == [("logits", np.float32, (None, 7))]


@pytest.mark.parametrize(("precision", "target", "graph"), [
    ("fp32", "cpu", "fp32"), ("int8", "cpu", "int8"), ("int8", "auto", "int8"),
    ("int8", "tensorrt", "int8-gpu"), ("int8", "tensorrt-rtx", "int8-gpu"), ("fp16", "tensorrt", "fp16"),
    ("int8", "onnxruntime-cuda", "int8-gpu"), ("int8", "onnxruntime-tensorrt", "int8-gpu")])
def test_int8_means_the_targets_own_form(precision: str, target: str, graph: str) -> None:
    assert graph_for(precision, target) == graph


@pytest.mark.parametrize(("precision", "target"), [("fp8", "cpu"), ("int8-gpu", "cpu"), ("fp32", "npu")])
def test_an_unknown_precision_or_target_is_refused(precision: str, target: str) -> None:
    with pytest.raises(BadInput, match="expected a"):
        graph_for(precision, target)


def test_a_graph_with_another_input_than_the_card_says_is_refused(tiny_model: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["pixels"], ["logits"])], "other",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 7])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 7])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tiny_model / "fp32.onnx").write_bytes(model.SerializeToString())
    write_tiny_card(tiny_model)
    with pytest.raises(BadModel, match="expected input faces"):
        open_engine(load_model(tiny_model), "fp32", "cpu")


def test_bytes_that_no_engine_loads_are_refused_in_one_line() -> None:
    with pytest.raises(BadModel) as caught:
        OnnxRuntimeEngine(b"\x08\x07", "m.onnx", "fp32")
    assert "m.onnx" in str(caught.value) and "\n" not in str(caught.value)


def test_a_wrong_shape_is_an_error_of_the_run(tiny_model: Path) -> None:
    engine = open_engine(load_model(tiny_model), "fp32", "cpu")
    with pytest.raises(MienError, match="ONNX Runtime"):
        engine.run({"faces": np.zeros((1, 1, 40, 40), np.uint8)})


def test_a_closed_engine_does_not_run(tiny_model: Path) -> None:
    engine = open_engine(load_model(tiny_model), "fp32", "cpu")
    engine.close()
    with pytest.raises(MienError, match="closed"):
        engine.run({"faces": np.zeros((1, 1, 48, 48), np.uint8)})


def test_a_faithful_engine_agrees_with_its_golden_faces(tiny_model: Path) -> None:
    model = load_model(tiny_model)
    agreement = require_agreement(model, open_engine(model, "fp32", "cpu"), "fp32")
    assert agreement.largest <= agreement.bound == 1e-4
    assert agreement.faces == 4


def test_an_engine_of_another_network_departs_from_the_golden_faces(tiny_model: Path) -> None:
    (tiny_model / "fp32.onnx").write_bytes(TinyNetwork.random(seed=9).graph().SerializeToString())
    write_tiny_card(tiny_model)  # an honest card of the wrong graph
    model = load_model(tiny_model)
    with pytest.raises(MienError, match="nothing was scored") as caught:
        require_agreement(model, open_engine(model, "fp32", "cpu"), "fp32")
    assert caught.value.exit_code == 1


def test_an_engine_that_answers_nan_departs(tiny_model: Path) -> None:
    class Broken:
        def run(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {"logits": np.full((len(arrays["faces"]), 7), np.nan, np.float32)}

    with pytest.raises(MienError, match="nothing was scored"):
        require_agreement(load_model(tiny_model), Broken(), "fp32")  # type: ignore[arg-type]


def test_a_graph_without_a_bound_is_refused(tiny_model: Path) -> None:
    model = load_model(tiny_model)
    with pytest.raises(BadModel, match="golden_bound for fp16"):
        require_agreement(model, open_engine(model, "fp32", "cpu"), "fp16")
