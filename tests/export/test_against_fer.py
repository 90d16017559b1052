"""The stream beside fer: where the face of the clip is, how boxes are judged, and the talk with the other process.

A stand-in for fer answers here, a package of that name that the test writes: how fast and how good the real one is, is
the record's matter.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from export import against_fer
from export.clip import render_clip
from export.photograph import load_photograph
from runtime.card import load_model
from runtime.errors import BadInput, Unavailable
from runtime.faces import open_detector
from runtime.tracks.tracks import overlaps

ROOT = Path(__file__).parents[2]

STAND_IN = """
class FER:
    def detect_emotions(self, image):
        assert image.shape == (480, 640, 3)
        return [{"box": [100, 50, 300, 300], "emotions": {"happy": 0.7, "sad": 0.3}}]
"""


@pytest.fixture
def fer_python(tmp_path: Path) -> Path:
    """An interpreter that finds a package `fer`, though it is started with -I: a wrapper that adds its folder."""
    package = tmp_path / "site" / "fer"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "fer.py").write_text(STAND_IN)
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport runpy, sys\nsys.path.insert(0, {str(package.parent)!r})\n"
                       "sys.argv[:] = sys.argv[2:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n")
    program.chmod(0o755)
    return program


def test_the_face_is_where_a_detector_finds_it() -> None:
    boxes, inside = against_fer.faces_of_clip(150)
    detector = open_detector("mien-face", threads=1, longest_side=320)
    frames = list(render_clip(load_photograph(), 150, against_fer.SIZE))
    for index in (0, 30, 75, 120):
        found = detector.detect(frames[index]).boxes.astype(np.float64)
        assert inside[index] == pytest.approx(1) and overlaps(found, boxes[index][None]).max() > 0.4
    assert inside[95] == 0 and len(detector.detect(frames[95])) == 0
    detector.close()


def test_recall_and_boxes_elsewhere_are_of_the_face() -> None:
    face, away = np.array([100.0, 100, 100, 100]), np.array([300.0, 300, 50, 50])
    said = [[(face, "happy")], [(away, "sad"), (face + 5, "happy")], [(away, "sad")], [], [(face, "sad")]]
    found = against_fer._judged(said, np.stack([face] * 5), np.array([1, 1, 1, 1, 0.2]))
    assert (found["recall"], found["boxes_elsewhere"]) == (0.5, 2)
    assert found["labels"] == {"happy": 2, "sad": 1}
    assert found["label_changes_a_minute"] == 0  # between neighbours that both show the face there is none


def test_labels_are_compared_where_both_found_the_face() -> None:
    face, away = np.array([100.0, 100, 100, 100]), np.array([300.0, 300, 50, 50])
    ours = [[(face, "happy")], [(face, "sad")], [(away, "sad")]]
    theirs = [[(face, "happy")], [(face, "happy")], [(face, "sad")]]
    assert against_fer._same(ours, theirs, np.stack([face] * 3)) == 0.5


def test_every_figure_is_measured(fer_python: Path) -> None:
    found = against_fer.compare(fer_python, load_model(Path("mien-light")), "int8", "mien-face", 30, face_side=320)
    assert set(found["rows"]) == {"fer", "every_frame", "default_cadence"}
    assert found["rows"]["fer"]["labels"] == {"happy": found["rows"]["fer"]["labels"]["happy"]}
    assert found["rows"]["every_frame"]["recall"] > 0.9
    assert found["rows"]["fer"]["gained"]["median"] == 1 and found["rows"]["every_frame"]["gained"]["median"] < 1
    json.dumps(found, allow_nan=False)


def test_an_interpreter_without_fer_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", np.zeros((1, 4, 4, 3), np.uint8))
    with pytest.raises(Unavailable, match=r"No module named 'fer'.*--fer-python"):
        against_fer.Fer(Path(sys.executable), tmp_path / "frames.npy")


def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected a Python interpreter"):
        against_fer.Fer(tmp_path / "nowhere", tmp_path / "frames.npy")
