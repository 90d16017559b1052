"""`mien check` at its edges: flags that say two things, places that are folders, a verdict before its files."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from tiny_model import LABELS, SIDE

import mien


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Noise in a folder for each label."""
    random = np.random.default_rng(0)
    for label in LABELS:
        (tmp_path / "faces" / label).mkdir(parents=True)
        for number in range(3):
            noise = random.integers(0, 255, (SIDE, SIDE), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "faces" / label / f"{number}.png"), noise)
    return tmp_path / "faces"


def check(*arguments: object) -> int:
    return mien.main(["check", *map(str, arguments), "--precision", "fp32"])


@pytest.mark.parametrize(("flags", "words"), [
    (("--form", "gpu", "--target", "tensorrt"), "found both"),
    (("--form", "cpu", "--target", "tensorrt"), "found both"), (("--thumbnails",), "--html FILE with --thumbnails"),
    (("--junit", "."), "found the folder .")])
def test_flags_that_make_no_sense_are_refused_before_any_work(flags: tuple[str, ...], words: str,
                                                              capsys: pytest.CaptureFixture[str]) -> None:
    assert check("nowhere", "--data", "nowhere", *flags) == 2
    assert words in capsys.readouterr().err


def test_a_class_that_shall_gate_and_has_no_face_is_refused(tiny_model: Path, data: Path,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(data / LABELS[-1])
    assert check(tiny_model, "--data", data, "--classes", LABELS[0], LABELS[-1]) == 2
    assert f"expected faces of {LABELS[-1]}, which the budget's classes name, found none" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [
    ("check", "mien-face", "--data", "nowhere"), ("explain", "mien-face", "face.png"),
    ("oracle", "mien-face", "--data", "nowhere"), ("evaluate", "mien-face", "--data", "nowhere"),
    ("calibrate", "mien-face", "--images", "nowhere"), ("equalize", "mien-face", "--images", "nowhere"),
    ("sensitivity", "mien-face", "--data", "nowhere", "--out", "nowhere")])
def test_a_model_that_finds_faces_is_refused_and_its_own_verbs_are_named(arguments: tuple[str, ...],
                                                                         capsys: pytest.CaptureFixture[str]) -> None:
    assert mien.main(list(arguments)) == 2
    said = capsys.readouterr().err
    assert "expected a model that reads expressions, found" in said and "mien faces calibrate, check" in said


@pytest.mark.parametrize("verb", ["check", "calibrate", "compare"])
def test_a_detectors_verbs_look_at_the_model_before_the_labels(verb: str, tiny_model: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    teacher = ["--teacher", "nowhere"] if verb == "compare" else []
    assert mien.main(["faces", verb, str(tiny_model), "--data", "nowhere", "--labels", "nowhere", *teacher]) == 2
    assert "expected a model that finds faces, found" in capsys.readouterr().err


def test_a_folder_of_ones_own_is_checked_and_its_record_is_the_next_baseline(
        tiny_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "r.json"
    assert check(tiny_model, "--data", data, "--record", record) == 4  # 21 faces prove nothing
    first = json.loads(record.read_text())
    assert first["data"]["name"] == "folders" and first["images"] == 21 and first["golden"]["faces"] > 0
    assert check(tiny_model, "--data", data, "--baseline", record, "--record", record) == 4
    again = json.loads(record.read_text())
    assert {f["name"] for f in again["baseline"]["findings"]} >= {"kl", "ece_shift"} and again["baseline"]["logits"]
    assert "against tiny" in capsys.readouterr().err


def test_a_baseline_without_logits_says_what_is_not_compared(tiny_model: Path, data: Path, tmp_path: Path,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "r.json"
    check(tiny_model, "--data", data, "--record", record)
    values = json.loads(record.read_text())
    del values["logits"]
    record.write_text(json.dumps(values))
    capsys.readouterr()
    assert check(tiny_model, "--data", data, "--baseline", record) == 4
    assert "kept no logits: KL and calibration are not compared" in capsys.readouterr().err


def test_the_verdict_is_said_though_its_files_cannot_be_written(tiny_model: Path, data: Path, tmp_path: Path,
                                                                capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert check(tiny_model, "--data", data, "--record", tmp_path / "file" / "r.json") == 2
    said = capsys.readouterr().err
    assert said.startswith("INCONCLUSIVE: ") and "expected a folder to write r.json into" in said


def test_a_file_name_that_is_no_utf_8_is_checked_and_reported(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(data / LABELS[0]) + b"/caf\xe9\x01.png")).write_bytes(b"no image")
    reports = {flag: tmp_path / f"r.{flag}" for flag in ("html", "junit", "markdown", "record")}
    assert check(tiny_model, "--data", data, *(f"--{flag}={path}" for flag, path in reports.items())) == 4
    assert ElementTree.parse(reports["junit"]).getroot().tag == "testsuite"
    assert all(r"caf\udce9" in path.read_text(encoding="utf-8") for path in reports.values())


def test_fp16_is_judged_in_half_arithmetic_unless_said_otherwise(data: Path, tmp_path: Path) -> None:
    def recorded(*flags: str) -> str:
        mien.main(["check", "mien-light", "--data", str(data), "--precision", "fp16", *flags,
                   "--record", str(tmp_path / "r.json")])
        return str(json.loads((tmp_path / "r.json").read_text())["form"])

    assert (recorded(), recorded("--form", "gpu"), recorded("--form", "cpu")) == ("gpu", "gpu", "cpu")
