"""mien-face, as it ships: small, on the golden cells in every precision, and finding faces from the first start."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from export.engine_from_onnx import request_for
from export.photograph import FACE, LANDMARKS
from runtime.card import Model, load_model, save_card
from runtime.engines import open_graph_on_cpu
from runtime.engines.compile import compile_onnx
from runtime.errors import BadInput, MienError
from runtime.faces import open_detector
from runtime.faces.model_detector import ModelDetector
from runtime.golden import require_agreement
from runtime.stream import run_stream
from runtime.stream_config import StreamConfig

FACE_SIDE = FACE[2]


@pytest.fixture(scope="module")
def mien_face() -> Model:
    """The shipped detector."""
    return load_model(Path("mien-face"))


def test_it_is_the_default_and_small(mien_face: Model) -> None:
    assert StreamConfig("0").faces == "mien-face"
    assert mien_face.card.task == "face" and mien_face.card.parameters <= 120_000
    assert all(entry.bytes <= 500_000 for entry in mien_face.card.graphs.values())


@pytest.mark.parametrize("graph", ["fp32", "fp16", "int8", "int8-gpu"])
def test_every_graph_holds_its_golden_cells(mien_face: Model, graph: str) -> None:
    agreement = require_agreement(mien_face, open_graph_on_cpu(mien_face, graph), graph)
    assert agreement.largest <= agreement.bound


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("scale", [0.1, 0.3, 1.0, 2.0])
def test_the_photographs_face_and_its_landmarks_are_found_at_any_size(
        face_photo: np.ndarray, precision: str, scale: float) -> None:
    frame = cv2.resize(face_photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    found = open_detector("mien-face", precision=precision).detect(frame)
    assert found.landmarks is not None
    assert np.abs(found.landmarks[0] / scale - LANDMARKS).max() < 0.1 * FACE_SIDE  # the largest comes first
    assert found.scores[0] > 0.75


@pytest.mark.parametrize("level", [0, 90, 255])
def test_an_empty_frame_holds_no_face(level: int) -> None:
    assert len(open_detector("mien-face").detect(np.full((480, 640, 3), level, np.uint8))) == 0


def test_a_dark_a_bright_and_a_noisy_picture_still_hold_it(face_photo: np.ndarray) -> None:
    detector, noise = open_detector("mien-face"), np.random.default_rng(0).normal(0, 12, face_photo.shape)
    for changed in (face_photo * 0.35, face_photo * 1.5, face_photo + noise):
        found = detector.detect(np.clip(changed, 0, 255).astype(np.uint8))
        assert found.landmarks is not None
        assert np.abs(found.landmarks[0] - LANDMARKS).max() < 0.12 * FACE_SIDE


def test_head_shots_that_yunet_is_sure_of_are_found(mien_data: Path) -> None:
    """Of the first hundred, most of which it was trained on: this asks whether the weights are the right ones."""
    yunet = open_detector(str(mien_data / "models" / "yunet_n_320_320.onnx"), 1, 0.8)
    ours, both = open_detector("mien-face", 1), 0
    with os.scandir(mien_data / "heads") as entries:
        heads = sorted(e.path for e in entries)[:100]
    sure = [(frame, found) for frame in map(cv2.imread, heads) if len(found := yunet.detect(frame))]
    for frame, theirs in sure:
        found = ours.detect(frame)
        if len(found):
            meet = (np.minimum(found.boxes[0, :2] + found.boxes[0, 2:], theirs.boxes[0, :2] + theirs.boxes[0, 2:])
                    - np.maximum(found.boxes[0, :2], theirs.boxes[0, :2]))
            shared = np.prod(np.maximum(meet, 0))
            areas = np.prod(found.boxes[0, 2:]) + np.prod(theirs.boxes[0, 2:])
            both += shared / (areas - shared) > 0.5
    assert len(sure) > 80 and both >= 0.97 * len(sure)


@pytest.mark.parametrize("graph", ["fp32", "fp16", "int8-gpu"])
def test_a_real_nvidia_compiler_takes_it(mien_face: Model, tmp_path: Path, graph: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is for x86-64 Linux")
    built = compile_onnx(mien_face.read_graph(graph), request_for(mien_face, "tensorrt-rtx", "all", tmp_path)).built
    assert len(built.content) > 100_000


def test_an_engine_that_answers_nan_is_no_empty_room(mien_face: Model, face_photo: np.ndarray) -> None:
    engine = open_graph_on_cpu(mien_face, "fp32")
    real = engine.run
    engine.run = lambda arrays: {k: v * np.nan for k, v in real(arrays).items()}  # type: ignore[method-assign]
    with pytest.raises(MienError, match="NaN"):
        ModelDetector(mien_face, engine).detect(face_photo)


def test_another_threshold_than_the_golden_faces_were_found_at_is_refused(mien_face: Model, tmp_path: Path) -> None:
    shutil.copytree(mien_face.directory, tmp_path / "mien-face")
    save_card(tmp_path / "mien-face", dataclasses.replace(mien_face.card, score_threshold=0.99))
    with pytest.raises(MienError, match="golden faces"):
        open_detector(str(tmp_path / "mien-face"))


def test_it_reads_no_expressions(tmp_path: Path, face_photo: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), face_photo)
    with pytest.raises(BadInput, match="--faces"):
        run_stream(StreamConfig(str(tmp_path / "face.png"), model="mien-face"))
