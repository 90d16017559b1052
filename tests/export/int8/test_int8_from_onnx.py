"""Calibrating a model directory: both INT8 forms, or nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from tiny_graphs import random_faces

from calibration.onnx_graph import parse_model
from calibration.pick_images import hash_images
from calibration.quantize import plan, quantize
from calibration.ranges import scale_of
from export.int8.int8_from_onnx import Rounding, int8_from_onnx
from runtime.card import Model, load_model
from runtime.engines import open_engine, open_graph_on_cpu
from runtime.errors import BadInput, MienError
from runtime.golden import require_agreement

CHOSEN = {"name": "noise", "seed": 0}


@pytest.fixture(scope="module")
def calibrated(tiny_export, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The tiny model with its INT8 forms (read-only)."""
    directory = shutil.copytree(tiny_export.directory, tmp_path_factory.mktemp("int8") / "model")
    int8_from_onnx(load_model(directory), random_faces(64), Rounding("percentile", 99.99), CHOSEN)
    return load_model(directory)


@pytest.fixture
def fresh(tiny_export, tmp_path: Path) -> Path:
    """A copy that a test may write to."""
    return shutil.copytree(tiny_export.directory, tmp_path / "model")


def test_both_forms_are_written_and_verified(calibrated: Model) -> None:
    for graph in ("int8", "int8-gpu"):
        assert onnx.load_model_from_string(calibrated.read_graph(graph)).graph.node


def test_both_forms_agree_with_pytorch_on_the_golden_faces(calibrated: Model) -> None:
    for graph in ("int8", "int8-gpu"):
        agreement = require_agreement(calibrated, open_graph_on_cpu(calibrated, graph), graph)
        assert 0 < agreement.largest <= agreement.bound


def test_the_other_graphs_and_the_golden_faces_stay_as_they_were(tiny_export, calibrated: Model) -> None:
    for name in ("fp32.onnx", "fp16.onnx", "golden.npz"):
        assert (calibrated.directory / name).read_bytes() == (tiny_export.directory / name).read_bytes()


def test_the_card_says_how_it_was_calibrated(calibrated: Model) -> None:
    found = calibrated.card.calibration
    assert found["images"] == 64 and found["images_sha256"] == hash_images(random_faces(64))
    assert (found["method"], found["percentile"], found["images_from"]) == ("percentile", 99.99, CHOSEN)
    assert found["quantized_nodes"] == 4 and found["kept_float"] == []
    assert all(threshold > 0 for threshold in found["thresholds"].values())


def test_calibrating_again_with_the_same_faces_gives_the_same_bytes(fresh: Path, calibrated: Model) -> None:
    card = int8_from_onnx(load_model(fresh), random_faces(64), Rounding("percentile", 99.99), CHOSEN)
    assert card.graphs["int8"].sha256 == calibrated.card.graphs["int8"].sha256
    assert card.graphs["int8-gpu"].sha256 == calibrated.card.graphs["int8-gpu"].sha256


def test_a_model_can_be_calibrated_anew(fresh: Path) -> None:
    int8_from_onnx(load_model(fresh), random_faces(16), Rounding("max"), CHOSEN)
    card = int8_from_onnx(load_model(fresh), random_faces(32), Rounding("max"), CHOSEN)
    assert card.calibration["images"] == 32 and card.calibration["percentile"] is None
    assert open_engine(load_model(fresh), "int8", "cpu")


def test_faces_of_another_size_leave_the_model_alone(fresh: Path) -> None:
    before = {p.name: p.read_bytes() for p in fresh.iterdir()}
    with pytest.raises(BadInput, match="calibration faces of"):
        int8_from_onnx(load_model(fresh), np.zeros((4, 1, 48, 48), np.uint8), Rounding("max"), CHOSEN)
    assert {p.name: p.read_bytes() for p in fresh.iterdir()} == before
    assert [p.name for p in fresh.parent.iterdir()] == ["model"]


def test_ranges_that_ruin_the_golden_faces_are_refused_and_nothing_is_written(shipped: Model, tmp_path: Path) -> None:
    directory = shutil.copytree(shipped.directory, tmp_path / "model")
    before = {p.name: p.read_bytes() for p in directory.iterdir()}
    dark = np.full((4, 1, 48, 48), 9, np.uint8)  # half of the activations of nothing at all
    with pytest.raises(MienError, match="nothing was written: calibrate on more"):
        int8_from_onnx(load_model(directory), dark, Rounding("percentile", 50), CHOSEN)
    assert {p.name: p.read_bytes() for p in directory.iterdir()} == before


# the model that ships

def shipped_forms(shipped: Model) -> dict[str, onnx.ModelProto]:
    """Quantize the shipped fp32.onnx with its card's thresholds, both forms in float32."""
    fp32 = parse_model(shipped.read_graph("fp32"), "fp32.onnx")
    thresholds = shipped.card.calibration["thresholds"]
    chosen = plan(fp32)
    assert set(chosen.tensors) == set(thresholds)
    scales = {name: scale_of(threshold) for name, threshold in thresholds.items()}
    return {form: quantize(fp32, chosen, scales, form) for form in ("cpu", "gpu")}


def test_the_shipped_forms_give_equal_integers_at_every_common_q(shipped: Model) -> None:
    forms = shipped_forms(shipped)
    names = [{n.output[0] for n in m.graph.node if n.op_type == "QuantizeLinear"} for m in forms.values()]
    common = sorted(names[0] & names[1])
    assert len(common) >= len(shipped.card.calibration["thresholds"])
    faces, integers = shipped.read_golden().faces[:6], {}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    for form, model in forms.items():
        for name in common:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT8, None))
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        integers[form] = session.run(common, {"faces": faces})
    assert [n for n, a, b in zip(common, integers["cpu"], integers["gpu"]) if not np.array_equal(a, b)] == []


def test_the_shipped_int8_file_is_what_its_thresholds_give(shipped: Model) -> None:
    wanted = {w.name: w for w in shipped_forms(shipped)["cpu"].graph.initializer}
    found = {w.name: w for w in onnx.load_model_from_string(shipped.read_graph("int8")).graph.initializer}
    assert set(found) == set(wanted)
    assert [name for name, w in found.items() if name.endswith("_q") and w != wanted[name]] == []


def test_the_shipped_int8_files_are_at_most_3_megabytes(shipped: Model) -> None:
    assert shipped.card.graphs["int8"].bytes <= 3e6 and shipped.card.graphs["int8-gpu"].bytes <= 3e6


def test_onnx_runtime_runs_every_convolution_of_the_shipped_int8_file_on_integers(
        shipped: Model, tmp_path: Path) -> None:
    written = onnx.load_model_from_string(shipped.read_graph("int8"))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(written.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [n.op_type for n in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kinds.count("QLinearConv") == [n.op_type for n in written.graph.node].count("Conv") == 10
    assert "Conv" not in kinds and "FusedConv" not in kinds
