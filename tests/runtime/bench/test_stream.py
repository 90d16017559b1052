"""The stream's bench: its own arithmetic, and that every figure is measured; how large they are is the record's."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from opencv_four import needs_haar

from runtime.bench import stream
from runtime.card import load_model
from runtime.engines import open_engine
from runtime.errors import BadInput
from runtime.expressions import ExpressionReader
from runtime.faces.haar import HaarDetector

ROOT = Path(__file__).parents[3]


@pytest.fixture
def reader(tiny_model: Path) -> ExpressionReader:
    model = load_model(tiny_model)
    return ExpressionReader(model, open_engine(model, "fp32", "cpu", 1))


@pytest.fixture
def clip(face_photo: np.ndarray) -> list[np.ndarray]:
    """The photograph through a window that moves right, 640×480."""
    wide = np.hstack([face_photo, face_photo[:, ::-1]])[60:540]
    return [np.ascontiguousarray(wide[:, 3 * i : 3 * i + 640]) for i in range(60)]


@needs_haar
def test_every_figure_is_measured(clip: list[np.ndarray], reader: ExpressionReader) -> None:
    found = stream.measure_scene(clip, 25.0, HaarDetector(), reader, every=5, births=2, turns=3)
    assert set(found["frames_per_second"]) == {"bare", "every_frame", "every_5"}
    assert found["detected_share_of_frames"] < 0.5
    assert found["boxes"]["detected_faces"] > 30 and found["boxes"]["recall"] > 0.9
    assert found["boxes"]["mean_overlap"] > 0.8 and found["follow_milliseconds"] > 0
    json.dumps(found, allow_nan=False)


def shown(detected: bool, *boxes: tuple[float, ...], labels: str = "") -> stream.Shown:
    tracks = range(1, len(boxes) + 1)
    return stream.Shown(detected, np.array(boxes, np.float32).reshape(-1, 4), tracks, list(labels), list(labels))


class Had:
    """What a run showed."""

    def __init__(self, *frames: stream.Shown):
        self.shown = frames


def test_only_followed_frames_are_compared() -> None:
    face, moved, away = (0, 0, 100, 100), (0, 20, 100, 100), (300, 300, 50, 50)
    always = Had(shown(True, face), shown(True, face), shown(True, face), shown(True, face))
    following = Had(shown(True, away), shown(False, moved), shown(False), shown(False, face, away))
    found = stream.agreement(always, following)  # type: ignore[arg-type]
    assert found["mean_overlap"] == pytest.approx((80 / 120 + 1) / 2, abs=1e-3)
    assert (found["recall"], found["precision"]) == (pytest.approx(2 / 3, abs=1e-3), pytest.approx(2 / 3, abs=1e-3))


def test_label_changes_are_counted_per_minute_of_a_face() -> None:
    face = (0, 0, 100, 100)
    frames = [shown(True, face, labels=label) for label in "aabba"]  # two changes in four steps
    assert stream._changes(frames, lambda s: s.raw, fps=10.0) == pytest.approx(300)


def test_three_clips_stand_in_one_frame_a_third_apart(clip: list[np.ndarray]) -> None:
    mosaics = stream.three_of(clip)
    assert len(mosaics) == 60 and mosaics[0].shape == (480, 640, 3)
    assert (mosaics[0][:240, 320:] == mosaics[20][:240, :320]).all()


def test_a_clip_that_is_too_short_is_refused(tmp_path: Path, face_photo: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), face_photo)
    with pytest.raises(BadInput, match="at least 60 frames, found 1"):
        stream.load_frames(tmp_path / "one.png")


def test_the_record_says_which_figures_meet_what_was_asked() -> None:
    record = json.loads((ROOT / "docs/results/bench-stream-cpu.json").read_text())
    assert {(row["detector"], row["faces"]) for row in record["rows"]} >= {("haar", 1), ("haar", 3)}
    for row in record["rows"]:
        asked = record["asked"]
        assert row["met"] == {"of_bare": row["of_bare"]["median"] >= asked["of_bare"],
                              "follow_milliseconds": row["follow_milliseconds"] <= asked["follow_milliseconds"]}
