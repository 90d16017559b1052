"""Finding a mix for a model directory: measured, recorded, drawn; and what is said of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_graphs import random_faces

import mien
from export.int8.calibrate import Selection, calibrate_on_faces
from export.int8.calibration_faces import FacePool
from export.int8.find_mix import Sensitivity, doubts, draw_sensitivity, find_mix, mix_lines
from export.int8.int8_from_onnx import Rounding
from runtime.card import Model, load_model
from runtime.errors import BadInput
from train.datasets.labelled_faces import LabelledFaces


@pytest.fixture(scope="module")
def model(tiny_export, tmp_path_factory: pytest.TempPathFactory) -> Model:
    directory = shutil.copytree(tiny_export.directory, tmp_path_factory.mktemp("mix") / "model")
    pool = FacePool(random_faces(24), [f"{i}.png" for i in range(24)], {"name": "noise"}, np.arange(24) % 2, ("a", "b"))
    calibrate_on_faces(load_model(directory), pool, Selection("random", 16), Rounding("max"))
    return load_model(directory)


@pytest.fixture(scope="module")
def found(model: Model) -> Sensitivity:
    return find_mix(model, random_faces(64, 5), np.arange(64) % 7, 50.0, None)


def test_every_quantized_layer_is_measured_and_the_record_is_plain(model: Model, found: Sensitivity) -> None:
    assert len(found.layers) == model.card.calibration["quantized_nodes"]
    record = json.loads(json.dumps(found.as_dict()))
    assert record["budget_points"] == 50.0 and record["mix"]["kept_float"] == []
    assert [layer["name"] for layer in record["layers"]] == [layer.name for layer in found.layers]


def test_a_model_calibrated_before_pixels_had_a_grid_is_measured_as_it_will_be_made(
        model: Model, found: Sensitivity) -> None:
    facts = model.card.calibration
    before = facts | {"thresholds": facts["thresholds"] | {facts["exact_pixels"]: 1.0}, "exact_pixels": None}
    old = dataclasses.replace(model, card=dataclasses.replace(model.card, calibration=before))
    assert find_mix(old, random_faces(64, 5), np.arange(64) % 7, 50.0, None).layers == found.layers


def test_people_read_every_layer_and_the_verdict(model: Model, found: Sensitivity) -> None:
    lines = mix_lines(found, model)
    assert [line.split()[0] for line in lines[: len(found.layers)]] == [layer.name for layer in found.layers]
    assert any("50.0 points are kept with 100.0% of the multiply-adds in INT8" in line for line in lines)


def test_a_budget_that_nothing_keeps_is_said(model: Model) -> None:
    nothing = find_mix(model, random_faces(64, 5), np.arange(64) % 7, -60.0, None)
    assert nothing.found.mix is None and "no mix keeps -60.0 points" in mix_lines(nothing, model)[-1]


def test_a_mix_that_is_mostly_half_is_doubted(model: Model, found: Sensitivity) -> None:
    assert found.found.mix is not None
    mostly_half = type(found.found.mix)(("x",), 0.3, found.found.mix.cost)
    assert any("fp16 is likely as fast" in said for said in doubts(mostly_half, model))


def test_the_picture_is_drawn(found: Sensitivity, tmp_path: Path) -> None:
    draw_sensitivity(found, "tiny", tmp_path / "sensitivity.png")
    picture = cv2.imread(str(tmp_path / "sensitivity.png"))
    assert picture is not None and picture.shape[1] > 1000 and picture.std() > 5


def test_a_model_without_ranges_is_sent_to_calibrate(tiny_export) -> None:
    with pytest.raises(BadInput, match="mien calibrate .* first"):
        find_mix(load_model(tiny_export.directory), random_faces(4), np.zeros(4, np.int64), 0.3, None)


@pytest.mark.parametrize(("share", "said"), [(0.95, True), (1.2, True), (0.85, False)])
def test_int8_that_is_hardly_smaller_than_fp16_is_doubted(model: Model, found: Sensitivity, share: float,
                                                          said: bool) -> None:
    graphs = model.card.graphs
    sized = {name: dataclasses.replace(graphs[name], bytes=size)
             for name, size in (("fp16", 1_000_000), ("int8-gpu", int(1_000_000 * share)))}
    other = dataclasses.replace(model, card=dataclasses.replace(model.card, graphs=graphs | sized))
    assert found.found.mix is not None
    assert any("hardly smaller" in doubt for doubt in doubts(found.found.mix, other)) == said


def test_an_accuracy_that_nobody_could_take_for_good_is_said(model: Model, found: Sensitivity) -> None:
    assert found.as_dict()["fp32_accuracy"] == found.fp32_accuracy < 0.5
    assert f"FP32 is right on {found.fp32_accuracy:.1%} of these faces" in mix_lines(found, model)
    assert not any("-0.00" in line for line in mix_lines(found, model))


def test_sensitivity_refuses_labels_that_are_not_the_faces_and_budgets_without_end(
        model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    splits, names = np.array(["PublicTest"] * 8), [str(i) for i in range(8)]
    others = model.card.labels[::-1]
    noise = LabelledFaces(random_faces(8)[:, 0], np.arange(8) % 7, splits, names, others)
    monkeypatch.setattr("train.datasets.fer2013.load_fer2013", lambda _: noise)
    flags = ["sensitivity", str(model.directory), "--data", "fer2013", "--out", str(tmp_path / "out")]
    assert mien.main(flags) == 2
    assert f"expected a model of the labels {', '.join(others)} to measure on fer2013" in capsys.readouterr().err
    assert mien.main([*flags, "--budget", "nan"]) == 2
    assert "expected a finite --budget" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
