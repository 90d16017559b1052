"""A detector's model directory: any size through one graph, golden cells that hold, and every precision compiled."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_detector import RECIPE, untrained

from export.engine_from_onnx import request_for
from export.faces.detector_from_checkpoint import detector_from_checkpoint, predict_cells
from export.int8.int8_from_onnx import Rounding, int8_from_onnx
from runtime.card import Model, load_model, save_card
from runtime.engines import open_graph_on_cpu
from runtime.engines.compile import compile_onnx
from runtime.errors import BadModel, MienError
from runtime.faces import open_detector
from runtime.faces.model_detector import ModelDetector
from runtime.golden import Departure, require_agreement


@pytest.fixture(scope="module")
def quantized(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Both INT8 graphs beside the others, calibrated on noise."""
    folder = tmp_path_factory.mktemp("quantized") / "tiny-face"
    shutil.copytree(exported, folder)
    noise = np.random.default_rng(0).integers(0, 256, (8, 1, 96, 128), dtype=np.uint8)
    int8_from_onnx(load_model(folder), noise, Rounding(), {"name": "noise"})
    return load_model(folder)


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (480, 640)])
def test_the_graph_takes_any_multiple_of_32_and_says_what_pytorch_says(face_model: Model, size: tuple[int, int]
                                                                       ) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (1, 1, *size), dtype=np.uint8)
    found = open_graph_on_cpu(face_model, "fp32").run({"pictures": pictures})["cells"]
    assert np.abs(found - predict_cells(untrained(), pictures)).max() < 1e-3


def test_the_golden_cells_hold_in_every_precision(quantized: Model) -> None:
    for graph in ("fp32", "fp16", "int8", "int8-gpu"):
        agreement = require_agreement(quantized, open_graph_on_cpu(quantized, graph), graph)
        assert agreement.largest <= agreement.bound and agreement.faces == 2


def test_other_weights_depart_from_the_golden_cells(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny-face"
    shutil.copytree(exported, folder)
    graph = onnx.load(folder / "fp32.onnx")
    weights = next(w for w in graph.graph.initializer if len(w.dims) == 4 and w.dims[0] == 16 and w.dims[2] == 1)
    array = onnx.numpy_helper.to_array(weights) * 1.5
    weights.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), weights.name))
    onnx.save(graph, folder / "fp32.onnx")
    model = load_model(folder)
    entry = dataclasses.replace(model.card.graphs["fp32"]).of(folder / "fp32.onnx")
    save_card(folder, dataclasses.replace(model.card, graphs=model.card.graphs | {"fp32": entry}))
    with pytest.raises(Departure, match="on the golden faces"):
        open_detector(str(folder))


def test_the_card_counts_multiply_adds_at_the_size_it_names(face_model: Model) -> None:
    assert (face_model.card.input.width, face_model.card.input.height) == (640, 480)
    stem = 320 * 240 * 9 * 8  # the first convolution alone: 8 channels from 1 at half the size
    assert stem < face_model.card.metrics["multiply_adds"] < 100 * stem


def test_a_graph_that_departs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.faces.detector_from_checkpoint.BOUNDS", {"fp32": 0.0, "fp16": 0.0})
    facts = {"network": "face-detector", "recipe": dataclasses.asdict(RECIPE), "sha256": "0" * 64}
    with pytest.raises(MienError, match="nothing was written"):
        detector_from_checkpoint(untrained(), facts, tmp_path / "tiny-face", 0.6)
    assert not (tmp_path / "tiny-face").exists()


@pytest.mark.parametrize("graph", ["fp32", "fp16", "int8-gpu"])
def test_a_real_nvidia_compiler_takes_it_at_the_cards_size(quantized: Model, tmp_path: Path, graph: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is for x86-64 Linux")
    request = request_for(quantized, "tensorrt-rtx", "sm86", tmp_path)
    assert request.batches == (1, 1, 1)
    assert len(compile_onnx(quantized.read_graph(graph), request).built.content) > 10_000


def test_boxes_come_back_in_the_frames_own_pixels(face_model: Model) -> None:
    """A frame twice the size has the same faces, twice the size."""
    frame = np.random.default_rng(2).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    detector = ModelDetector(face_model, open_graph_on_cpu(face_model, "fp32"), 1000, 0.7, longest_side=160)
    doubled = np.repeat(np.repeat(frame, 2, axis=0), 2, axis=1)  # area-averaged by two: the same picture again
    once, twice = detector.detect(frame), detector.detect(doubled)
    assert 0 < len(once) <= len(twice)  # the smallest may be too small in the smaller frame
    assert np.allclose(once.boxes * 2, twice.boxes[: len(once)], atol=0.5)
    assert once.landmarks is not None and twice.landmarks is not None
    assert np.allclose(once.landmarks * 2, twice.landmarks[: len(once)], atol=0.5)


def test_an_expression_model_is_no_detector(tiny_model: Path) -> None:
    with pytest.raises(MienError, match="expression"):
        open_detector(str(tiny_model))


def test_golden_vectors_of_a_classifier_are_refused_in_a_face_card(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny-face"
    shutil.copytree(exported, folder)
    card = load_model(folder).card
    with np.load(folder / "golden.npz") as arrays:
        np.savez(folder / "golden.npz", faces=arrays["faces"], logits=arrays["logits"][:, 0])
    assert card.golden is not None
    save_card(folder, dataclasses.replace(card, golden=card.golden.of(folder / "golden.npz")))
    with pytest.raises(BadModel, match="label count or task"):
        load_model(folder).read_golden()
