"""`mien equalize`: the same float function, a model directory that stays whole, INT8 made anew from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_graphs import random_faces

from export.int8 import equalize_model as module
from export.int8.equalize_model import equalize_model
from export.int8.int8_from_onnx import RANGES_FILE, Rounding, int8_from_onnx
from mien import main
from runtime.card import Model, load_model
from runtime.engines import open_engine
from runtime.errors import MienError


@pytest.fixture
def model(tiny_export, tmp_path: Path) -> Model:
    directory = shutil.copytree(tiny_export.directory, tmp_path / "model")
    int8_from_onnx(load_model(directory), random_faces(32), Rounding("max"), {"name": "noise"})
    return load_model(directory)


def logits(model: Model, precision: str) -> np.ndarray:
    return open_engine(model, precision, "cpu").run({model.card.input_name: random_faces(16, 7)})["logits"]


@pytest.mark.parametrize(("precision", "close"), [("fp32", 1e-4), ("fp16", 0.05)])
def test_float_answers_stay_and_weights_do_not(model: Model, precision: str, close: float) -> None:
    before, graph = logits(model, precision), model.read_graph(precision)
    equalize_model(model, random_faces(32), 0.5)
    after = load_model(model.directory)
    assert after.read_graph(precision) != graph
    np.testing.assert_allclose(logits(after, precision), before, atol=close)


def test_int8_of_the_old_graph_goes_and_comes_back_with_calibration(model: Model) -> None:
    equalize_model(model, random_faces(32), 0.5)
    assert {p.name for p in model.directory.iterdir()} == {"card.json", "fp32.onnx", "fp16.onnx", "golden.npz"}
    equalized = load_model(model.directory)
    assert set(equalized.card.graphs) == {"fp32", "fp16"} and equalized.card.calibration == {}
    int8_from_onnx(equalized, random_faces(32), Rounding("max"), {"name": "noise"})
    assert np.isfinite(logits(load_model(model.directory), "int8")).all()
    assert (model.directory / RANGES_FILE).is_file()


def test_a_graph_that_left_pytorch_is_not_written(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p.name: p.read_bytes() for p in model.directory.iterdir()}
    monkeypatch.setattr(module, "BOUNDS", {"fp32": 0.0, "fp16": 0.0})
    with pytest.raises(MienError, match="expected the equalized fp32 within 0.0 of PyTorch"):
        equalize_model(model, random_faces(32), 1.0)
    assert {p.name: p.read_bytes() for p in model.directory.iterdir()} == before


def test_the_verb_says_what_it_did_and_what_comes_next(
    model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "crops").mkdir()
    for number, face in enumerate(random_faces(12)):
        cv2.imwrite(str(tmp_path / f"crops/{number}.png"), face[0])
    assert main(["equalize", str(model.directory), "--images", str(tmp_path / "crops"), "--dataset", "crops", "-n", "8",
                 "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["images"] == 8
    assert "3 pairs of layers equalized on 8 faces" in said.err and "mien calibrate" in said.err


def test_the_model_that_ships_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["equalize", "mien-light", "--images", str(tmp_path)]) == 2
    assert "copy it first" in capsys.readouterr().err
