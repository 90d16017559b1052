"""Observing a model: what was seen survives a stop, and nothing else is taken for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_graphs import random_faces

import export.int8.observe_model
from export.int8 import calibrate
from export.int8.calibration_faces import FacePool
from export.int8.int8_from_onnx import Rounding
from export.int8.observe_model import observe_model, state_path
from runtime.card import Model, load_model
from runtime.errors import BadInput, MienError
from runtime.ranges_file import encode_ranges, read_ranges


@pytest.fixture
def model(tiny_export, tmp_path: Path) -> Model:
    return load_model(shutil.copytree(tiny_export.directory, tmp_path / "model"))


def stop_after(monkeypatch: pytest.MonkeyPatch, batches: int, error: type[BaseException] = KeyboardInterrupt) -> None:
    """Let the pass end as Ctrl-C would end it, once so many batches are counted."""
    original = export.int8.observe_model.watch

    def watched(*args: object, **options: object):
        for number, state in enumerate(original(*args, **options), 1):
            yield state
            if number == batches:
                raise error

    monkeypatch.setattr(export.int8.observe_model, "watch", watched)


def test_a_pass_that_ends_leaves_no_state(model: Model) -> None:
    ranges = observe_model(model, random_faces(20))
    assert ranges.images == 20 and not state_path(model).exists()
    assert ranges.graph_sha256 == model.card.graphs["fp32"].sha256


def test_what_a_pass_saw_outlives_what_fails_after_it(
        model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """28,709 faces of VGG16 are a quarter of an hour; a full disk, or a rounding that departs, costs none of it."""
    faces = random_faces(20)
    pool = FacePool(faces, [str(i) for i in range(20)], {"name": "noise"}, np.arange(20) % 2, ("a", "b"))
    with monkeypatch.context() as patch, pytest.raises(MienError):
        patch.setattr(calibrate, "int8_from_ranges", lambda *_: (_ for _ in ()).throw(MienError("departs")))
        calibrate.calibrate_on_faces(model, pool, calibrate.Selection("random", 20), Rounding("max"))
    assert read_ranges(state_path(model)).images == 20
    assert "kept what all 20 faces showed" in capsys.readouterr().err
    card = calibrate.calibrate_on_faces(model, pool, calibrate.Selection("random", 20), Rounding("max"), resume=True)
    assert "going on after 20 of 20 faces" in capsys.readouterr().err
    assert card.calibration["images"] == 20 and not state_path(model).exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_a_stopped_pass_goes_on_to_the_same_histograms(
        model: Model, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    faces = random_faces(50)
    whole = observe_model(model, faces)
    with monkeypatch.context() as patch:
        stop_after(patch, 2, error)
        with pytest.raises(error):
            observe_model(model, faces)
    assert read_ranges(state_path(model)).images == 32
    resumed = observe_model(model, faces, resume=True)
    assert resumed.images == 50
    for name, histogram in whole.histograms.items():
        assert (resumed.histograms[name].counts == histogram.counts).all()


def test_without_resume_a_pass_starts_again(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            observe_model(model, random_faces(50))
    again, fresh = (encode_ranges(observe_model(model, random_faces(20))) for _ in range(2))
    assert again == fresh


def test_resuming_with_other_faces_is_refused_and_keeps_the_state(
        model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            observe_model(model, random_faces(50))
    with pytest.raises(BadInput, match="same command without --resume starts again"):
        observe_model(model, random_faces(50, seed=1), resume=True)
    assert state_path(model).is_file()


def test_a_state_of_another_graph_is_refused(model: Model, shipped: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = np.zeros((20, 1, 48, 48), np.uint8)
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        patch.setattr(export.int8.observe_model, "state_path", lambda of: state_path(model))
        with pytest.raises(KeyboardInterrupt):
            observe_model(shipped, faces)
    with pytest.raises(BadInput, match="another graph's"):
        observe_model(model, faces, resume=True)


def test_resuming_where_nothing_was_stopped_starts_with_the_first_face(
        model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    assert observe_model(model, random_faces(5), resume=True).images == 5
    assert "starting with the first face" in capsys.readouterr().err


def test_a_stop_says_what_was_kept_and_how_to_go_on(
        model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stop_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        observe_model(model, random_faces(50))
    assert "kept what 16 of 50 faces showed" in capsys.readouterr().err


def test_a_caller_may_keep_no_state(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        observe_model(model, random_faces(50), keep_state=False)
    assert not state_path(model).exists()
