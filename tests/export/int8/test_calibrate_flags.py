"""Flags of `mien calibrate` and `mien equalize` that are refused before a face is loaded: one line, exit 2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import pytest
from tiny_graphs import random_faces

from export.int8 import int8_from_onnx as module
from export.int8.int8_from_onnx import Rounding, int8_from_onnx
from export.int8.observe_model import observe_model
from mien import main
from runtime.card import load_model
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
