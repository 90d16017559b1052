"""What a person reads of an alarm, and the command that it names."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import pytest
from tiny_model import write_tiny_model

import mien
from runtime.card import Model, load_model
from runtime.drift.alarm import STANDS, alarm_line, is_engines_fault, recalibrate_command


def status(*alarming: str, **more: Any) -> dict[str, Any]:
    quantities = {name: {"alarming": name in alarming, "evidence": float(name in alarming), "stood": STANDS}
                  for name in ("log_kl", "brightness", "energy", "face_side")}
    return {"why": "", "alarming": list(alarming), "compared_with": "calibration", "quantities": quantities,
            "ranges": {"file": "/var/lib/mien/ranges.hist", "faces": 9},
            "learned": {"file": "/var/lib/mien/drift-camera.json"}, **more}


@pytest.fixture
def calibrated(tmp_path: Path) -> Model:
    model = load_model(write_tiny_model(tmp_path / "my model"))
    return dataclasses.replace(model, card=dataclasses.replace(model.card, calibration={"thresholds": {"unit": 0.5}}))


def test_what_was_learned_is_learned_anew_once_its_file_is_gone(calibrated: Model) -> None:
    size = alarm_line(status("face_side"), calibrated, "int8", "cpu")
    assert size.endswith("stop the stream, rm /var/lib/mien/drift-camera.json, start it: it learns this place anew")
    light = alarm_line(status("brightness", compared_with="first samples"), calibrated, "int8", "cpu")
    assert "what it saw in its first samples" in light
    assert "; where it will always look so: stop the stream, rm /var" in light
    kept_nowhere = alarm_line(status("face_side", learned={"file": ""}), calibrated, "int8", "cpu")
    assert kept_nowhere.endswith("a new start of the stream learns anew")


def test_a_camera_moved_too_is_told_apart_from_what_was_calibrated_on(calibrated: Model) -> None:
    line = alarm_line(status("brightness", "face_side"), calibrated, "int8", "cpu")
    assert line.startswith("the camera no longer sees what was calibrated on (brightness), faces are of another size "
                           "than in its first samples; mien calibrate ")


def test_no_alarm_has_no_line(calibrated: Model) -> None:
    assert alarm_line(status(), calibrated, "int8", "cpu") == ""


def test_a_changed_world_names_the_command_that_recalibrates(calibrated: Model) -> None:
    line = alarm_line(status("brightness", "contrast"), calibrated, "int8", "cpu")
    assert line.startswith("the camera no longer sees what was calibrated on (brightness, contrast); mien calibrate ")
    assert "my model' --from-histograms /var/lib/mien/ranges.hist; " in line
    assert line.endswith("drift.learn: true in stream.yaml")  # no calibration changes what brightness is compared with


def test_an_engine_that_departs_alone_is_its_own_fault(calibrated: Model) -> None:
    assert is_engines_fault(status("log_kl")) and not is_engines_fault(status("log_kl", "energy"))
    line = alarm_line(status("log_kl"), calibrated, "int8", "cpu")
    assert line.startswith("the engine departs from FP32 more than it did") and "--precision int8" in line


def test_a_world_on_its_way_is_not_called_the_engines_fault(calibrated: Model) -> None:
    """INT8 errs more on faces that are hard for FP32 too, a mask's: its alarm may come before theirs."""
    both = status("log_kl")
    both["quantities"]["energy"]["evidence"] = 0.6
    assert not is_engines_fault(both)
    line = alarm_line(both, calibrated, "int8", "cpu")
    assert "the faces may have changed too (energy)" in line and "install" not in line


def test_an_engines_alarm_that_has_just_begun_blames_nobody_yet(calibrated: Model) -> None:
    early = status("log_kl")
    early["quantities"]["log_kl"]["stood"] = STANDS - 1
    assert not is_engines_fault(early)
    line = alarm_line(early, calibrated, "int8", "cpu")
    assert f"whether on faces as before {STANDS} samples tell; mien check" in line and "install" not in line


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_the_check_is_of_the_engine_that_departed(calibrated: Model, target: str) -> None:
    words = shlex.split(alarm_line(status("log_kl"), calibrated, "int8", target).split("; ")[1].split(",")[0])
    assert mien.make_parser().parse_args(words[1:]).target == target


def test_another_size_of_face_asks_about_the_cameras_place(calibrated: Model) -> None:
    line = alarm_line(status("face_side"), calibrated, "int8", "cpu")
    assert "has the camera been moved" in line and "calibrate" not in line


def test_an_engine_that_departs_is_told_where_the_faces_size_changes_too(calibrated: Model) -> None:
    line = alarm_line(status("log_kl", "face_side"), calibrated, "int8", "cpu")
    assert line.startswith("the engine departs from FP32 more than it did (mien check ")
    assert "faces are of another size" in line and "rm /var/lib/mien/drift-camera.json" in line  # not the engine's


def test_both_at_once_say_both(calibrated: Model) -> None:
    line = alarm_line(status("log_kl", "energy"), calibrated, "int8", "cpu")
    assert "(energy), and the engine errs more on it" in line


def test_learned_baselines_are_told_apart(calibrated: Model) -> None:
    line = alarm_line(status("energy", compared_with="first samples"), calibrated, "int8", "cpu")
    assert line.startswith("the camera no longer sees what it saw in its first samples")


def test_a_monitor_that_stopped_says_why(calibrated: Model) -> None:
    line = alarm_line(status("energy", why="the drift monitor stopped: x"), calibrated, "int8", "cpu")
    assert line.endswith("stopped: x")


def test_a_shipped_model_is_copied_first() -> None:
    command = recalibrate_command(status(), load_model(Path("mien-light")))
    assert command.startswith("cp -r ") and " && mien calibrate my-mien-light --from-histograms " in command


@pytest.mark.parametrize("without", ["file", "thresholds"])
def test_without_histograms_faces_are_asked_for(calibrated: Model, without: str) -> None:
    model, found = calibrated, status()
    if without == "file":
        found["ranges"]["file"] = ""
    else:
        model = dataclasses.replace(model, card=dataclasses.replace(model.card, calibration={}))
    assert recalibrate_command(found, model).endswith("my model' --images PATH")


def test_from_faces_the_model_is_rounded_as_it_was(calibrated: Model) -> None:
    how = {"thresholds": {"unit": 0.5}, "method": "percentile", "percentile": 99.99, "kept_float": ["first", "a gate"],
           "biases_corrected": True}
    found = status()
    found["ranges"]["file"] = ""
    model = dataclasses.replace(calibrated, card=dataclasses.replace(calibrated.card, calibration=how))
    args = mien.make_parser().parse_args(shlex.split(recalibrate_command(found, model))[1:])
    assert (args.method, args.percentile, args.keep_float) == ("percentile", 99.99, ["first", "a gate"])
    assert args.correct_biases and args.images == Path("PATH")
    shipped = recalibrate_command(found, load_model(Path("mien-light")))
    assert shipped.startswith("cp -r ") and shipped.endswith(" --images PATH --method percentile --percentile 99.999")


def test_the_command_is_one_that_mien_takes(calibrated: Model) -> None:
    words = shlex.split(recalibrate_command(status(), calibrated))
    assert words[0] == "mien" and mien.make_parser().parse_args(words[1:]).from_histograms
