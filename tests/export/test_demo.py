"""The demo, end to end on the shipped model: what a person finds in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from export.demo import contact_sheet, run_demo
from runtime.errors import BadInput, MienError


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("demo") / "demo"
    return out, run_demo(out, "int8", 30)


def test_it_leaves_video_sheet_events_and_clip(demo: tuple[Path, dict[str, Any]]) -> None:
    assert {p.name for p in demo[0].iterdir()} == {"annotated.mp4", "clip.mp4", "contact-sheet.png", "events.jsonl"}


def test_it_says_speed_stages_expressions_and_agreement(demo: tuple[Path, dict[str, Any]]) -> None:
    text = "\n".join(demo[1]["lines"])
    for words in ("frames/s", "milliseconds a frame: ", "expressions: ", "engine agrees with PyTorch: yes (max |Δ|"):
        assert words in text


def test_the_face_is_seen_and_lost(demo: tuple[Path, dict[str, Any]]) -> None:
    assert demo[1]["frames"] == 30 and 10 <= demo[1]["frames_with_faces"] < 30


def test_every_event_is_one_line_of_json(demo: tuple[Path, dict[str, Any]]) -> None:
    lines = (demo[0] / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert len(events) >= 2 + demo[1]["frames_with_faces"]


def test_the_contact_sheet_is_four_by_three_frames(demo: tuple[Path, dict[str, Any]]) -> None:
    sheet = cv2.imread(str(demo[0] / "contact-sheet.png"))
    assert sheet.shape == (3 * 360, 4 * 480, 3)
    cells = sheet.reshape(3, 360, 4, 480, 3).transpose(0, 2, 1, 3, 4).reshape(12, -1)
    assert len(np.unique(cells[:, ::997], axis=0)) == 12  # twelve different moments


def test_the_annotated_video_has_every_frame(demo: tuple[Path, dict[str, Any]]) -> None:
    capture = cv2.VideoCapture(str(demo[0] / "annotated.mp4"))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    assert count == 30


def test_an_older_demo_is_replaced(demo: tuple[Path, dict[str, Any]]) -> None:
    before = (demo[0] / "events.jsonl").read_bytes()
    assert run_demo(demo[0], "int8", 30)["frames"] == 30
    assert (demo[0] / "events.jsonl").read_bytes() != before  # other times of day


def test_fewer_frames_than_cells_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least 12 frames, found 11"):
        run_demo(tmp_path / "demo", "int8", 11)
    assert list(tmp_path.iterdir()) == []


def test_a_precision_the_model_lacks_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MienError):
        run_demo(tmp_path / "demo", "int4", 12)
    assert list(tmp_path.iterdir()) == []


def test_a_video_too_short_for_a_sheet_is_named(tmp_path: Path) -> None:
    (tmp_path / "short.mp4").write_bytes(b"")
    with pytest.raises(MienError, match="at least 12 frames in short.mp4, found 0"):
        contact_sheet(tmp_path / "short.mp4")
