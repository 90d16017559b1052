"""Flags of `mien calibrate` and `mien equalize` that are refused before a face is loaded: one line, exit 2."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import onnx
import pytest
from tiny_graphs import attention_graph, random_faces

from calibration.quantize import plan
from export.int8 import int8_from_onnx as module
from export.int8.calibration_faces import load_pool
from export.int8.int8_from_onnx import Rounding, int8_from_onnx
from export.int8.observe_model import observe_model
from mien import main
from runtime.card import Model, load_model
from runtime.errors import BAD_INPUT, BadInput
from runtime.ranges_file import write_ranges


@pytest.fixture
def directory(tiny_export, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_export.directory, tmp_path / "model")


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command that must end with 2 and one line; return the line."""
    assert main([str(word) for word in words]) == BAD_INPUT
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("mien: expected ")
    return lines[0]


@pytest.mark.parametrize(("flags", "found"), [
    (["-n", "0"], "-n of at least 1 face, found 0"),
    (["--seed", "-1"], "--seed of 0 or more, found -1"),
    (["--draws", "-3"], "0 or more backends to draw, found -3"),
    (["--percentile", "120"], "percentile of 50–100, found 120"),
    (["--keep-float", "nope"], "layers that INT8 would quantize, found nope"),
    (["--tensorrt-cache", "x", "--tensorrt-version", "11.0.0"], "give it int8-gpu.onnx"),
    (["--alone"], "--alone with --from-histograms"),
    (["--method", "max", "--percentile", "99.9"], "--percentile with --method percentile, found it with max"),
    (["--compare", "c.json", "--keep-float", "classify", "--resume"], "found it with --resume, --keep-float; leave"),
    (["--compare", "c.json", "--tensorrt-cache", "x"], "found it with --tensorrt-cache"),
    (["--show-faces"], "--held-out and --show-faces with --report FILE"),
    (["--report", "r.html", "--budget", "nan"], "a finite --budget in points of accuracy, found nan"),
])
def test_calibrate_refuses_before_it_looks_for_faces(
        directory: Path, capsys: pytest.CaptureFixture[str], flags: list[str], found: str) -> None:
    before = {p.name: p.read_bytes() for p in directory.iterdir()}
    assert found in refused(capsys, "calibrate", directory, "--images", directory / "nowhere", *flags)
    assert {p.name: p.read_bytes() for p in directory.iterdir()} == before


@pytest.mark.parametrize("flags", [["--images", "faces"], ["--list", "nowhere.json"], ["--coverage"], ["--resume"],
                                   ["--correct-biases"]])
def test_histograms_take_no_flag_that_needs_faces(
        directory: Path, capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    said = refused(capsys, "calibrate", directory, "--from-histograms", directory / "nowhere.hist", *flags)
    assert f"found it with {flags[0]};" in said


@pytest.mark.parametrize(("flags", "found"), [
    (["-n", "0"], "-n of at least 1 face, found 0"),
    (["--seed", "-1"], "--seed of 0 or more, found -1"),
    (["--alpha", "2"], "--alpha of 0–1, found 2.0"),
    (["--alpha", "nan"], "--alpha of 0–1, found nan"),
])
def test_equalize_refuses_before_it_looks_for_faces(
        directory: Path, capsys: pytest.CaptureFixture[str], flags: list[str], found: str) -> None:
    assert found in refused(capsys, "equalize", directory, "--images", directory / "nowhere", *flags)


def test_a_rounding_that_cannot_be_is_refused_before_the_pass(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "observe_model", lambda *_, **__: pytest.fail("observed"))
    with pytest.raises(BadInput, match="found nope"):
        int8_from_onnx(load_model(directory), random_faces(8), Rounding(keep_float=("nope",)), {})


def test_a_layer_that_always_stays_float_may_be_named() -> None:
    """A drift alarm's command names what a model kept, its attention gates among them."""
    graph = attention_graph()
    gates = plan(graph).kept_float
    parts = SimpleNamespace(read_graph=lambda precision: graph.SerializeToString(), directory=Path("model"))
    model = cast(Model, parts)
    module.require_rounding(model, Rounding(keep_float=gates))
    with pytest.raises(BadInput, match="found nope"):
        module.require_rounding(model, Rounding(keep_float=(*gates, "nope")))


def test_an_int8_without_a_layer_of_it_is_refused(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers = plan(onnx.load(directory / "fp32.onnx")).nodes
    said = refused(capsys, "calibrate", directory, "--images", directory / "nowhere", "--keep-float", *layers)
    assert f"found all {len(layers)} kept float; fp16.onnx is that model" in said


def test_histograms_change_the_ranges_and_not_how_a_model_is_rounded(
        directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command that a drift alarm names: what a gate passed would be undone without a word."""
    kept = plan(onnx.load(directory / "fp32.onnx")).nodes[-1]
    before = Rounding("entropy", keep_float=(kept,), correct_biases=True)
    int8_from_onnx(load_model(directory), random_faces(16), before, {"name": "noise"})
    write_ranges(tmp_path / "wall.hist", observe_model(load_model(directory), random_faces(8, seed=3)))
    command = ["calibrate", str(directory), "--from-histograms", str(tmp_path / "wall.hist"), "--alone"]
    assert main(command) == 0
    facts = load_model(directory).card.calibration
    assert (facts["method"], facts["kept_float"], facts["images"]) == ("entropy", [kept], 8)
    said = capsys.readouterr().err
    assert f"kept float as before: {kept}" in said and "corrected biases are lost" in said
    assert main([*command, "--method", "percentile", "--percentile", "99.99", "--keep-float"]) == 0
    facts = load_model(directory).card.calibration
    assert (facts["method"], facts["percentile"], facts["kept_float"]) == ("percentile", 99.99, [])
    assert main(command) == 0 and load_model(directory).card.calibration["percentile"] == 99.99


def test_a_crop_whose_name_is_not_utf_8_is_a_face_like_any(directory: Path, tmp_path: Path) -> None:
    for number, face in enumerate(random_faces(4)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), face[0])
    os.rename(tmp_path / "0.png", os.fsencode(tmp_path) + b"/caf\xe9.png")
    pool = load_pool(tmp_path, "crops", load_model(directory).card.input)
    assert len(pool.faces) == 4 and len(pool.source["sha256"]) == 64


def test_caches_of_two_merges_have_two_keys(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    for number, face in enumerate(random_faces(12)):
        cv2.imwrite(str(tmp_path / f"crops/{number}.png"), face[0])
    assert main(["calibrate", str(directory), "--images", str(tmp_path / "crops"), "--dataset", "crops"]) == 0
    keys = []
    for seed in (5, 6):
        model = load_model(shutil.copytree(directory, tmp_path / f"model-{seed}"))
        write_ranges(tmp_path / f"{seed}.hist", observe_model(model, random_faces(8, seed)))
        assert main(["calibrate", str(model.directory), "--from-histograms", str(tmp_path / f"{seed}.hist"),
                     "--tensorrt-cache", str(tmp_path / f"{seed}.cache")]) == 0
        keys.append(json.loads((tmp_path / f"{seed}.cache.json").read_text())["images_sha256"])
    assert len(set(keys)) == 2 and all(len(key) == 64 for key in keys)


@pytest.mark.parametrize(("flag", "value"), [("--seed", "-1"), ("-n", "0"), ("--draws", "-3")])
def test_the_oracle_refuses_a_draw_before_it_loads_a_face(flag: str, value: str, capsys) -> None:
    assert main(["oracle", "mien-light", "--data", "nowhere", flag, value]) == 2
    assert f"mien: expected {flag} of" in capsys.readouterr().err
