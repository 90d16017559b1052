"""Recordings: numbered, never replaced, and what a killed process left of one is named where it plays."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.sinks.recordings import names_of, unfinished_names_of
from runtime.sinks.video import VideoFileWriter, recover

ROOT = Path(__file__).resolve().parents[3]
KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from runtime.sinks.video import VideoFileWriter
writer = VideoFileWriter(Path(sys.argv[1]), 10.0, keeps=True)
noise = np.random.default_rng(0)
for _ in range(int(sys.argv[2])):
    writer.write(noise.integers(0, 256, (120, 160, 3), np.uint8))
os.kill(os.getpid(), signal.SIGKILL)
"""


def record(path: Path, value: int) -> None:
    writer = VideoFileWriter(path, 10.0, keeps=True)
    writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.finish()


def killed(path: Path, frames: int = 60) -> Path:
    """Have a process die while it records; return what it left."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(frames)], cwd=ROOT, check=False)
    assert done.returncode == -9
    (left,) = path.parent.glob(f".{path.name}.*")
    return left


def brightness(path: Path) -> int:
    read, frame = cv2.VideoCapture(str(path)).read()
    assert read
    return int(round(float(frame.mean()), -1))


@pytest.mark.parametrize("name", ["v.mp4", "v.avi"])
def test_a_recording_replaces_no_earlier_one(tmp_path: Path, name: str) -> None:
    for value in (0, 100, 200):
        record(tmp_path / name, value)
    ending = Path(name).suffix
    names = ["v" + ending, "v.000002" + ending, "v.000003" + ending]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
    assert [brightness(tmp_path / each) for each in names] == [0, 100, 200]


def test_a_number_follows_the_highest_though_earlier_ones_are_gone(tmp_path: Path) -> None:
    for value in (0, 100):
        record(tmp_path / "v.avi", value)
    (tmp_path / "v.avi").unlink()
    record(tmp_path / "v.avi", 200)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v.000002.avi", "v.000003.avi"]


def test_two_that_record_to_one_name_both_stay(tmp_path: Path) -> None:
    both = [VideoFileWriter(tmp_path / "v.avi", 10.0, keeps=True) for _ in range(2)]
    for value, writer in zip((0, 200), both):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    assert recover(tmp_path / "v.avi") == ([], []), "what is in work is nobody's to name"
    for writer in both:
        writer.finish()
    assert {brightness(p) for p in tmp_path.iterdir()} == {0, 200}


def test_what_a_killed_process_left_of_an_avi_plays_under_a_name_of_its_own(tmp_path: Path) -> None:
    record(tmp_path / "v.avi", 0)
    left = killed(tmp_path / "v.avi")
    assert recover(tmp_path / "v.avi") == ([tmp_path / "v.000002.avi"], []) and not left.exists()
    capture, frames = cv2.VideoCapture(str(tmp_path / "v.000002.avi")), 0
    while capture.read()[0]:
        frames += 1
    assert 10 < frames <= 60, "but for the last quarter of a mebibyte at most"


@pytest.mark.parametrize(("name", "frames"), [("v.mp4", 60), ("v.avi", 0)])
def test_what_does_not_play_is_removed(tmp_path: Path, name: str, frames: int) -> None:
    left = killed(tmp_path / name, frames)
    assert recover(tmp_path / name) == ([], [left])
    assert list(tmp_path.iterdir()) == []


def test_links_folders_and_other_names_stay(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"x")
    (tmp_path / ".v.avi.00000000.avi").symlink_to(tmp_path / "other")
    (tmp_path / ".v.avi.00000001.avi").mkdir()
    os.mkfifo(tmp_path / ".v.avi.00000002.avi")
    for name in (".v.avi.tmp", ".w.avi.00000000.avi", ".v.avi.0000000g.avi"):
        (tmp_path / name).write_bytes(b"x")
    before = sorted(tmp_path.iterdir())
    assert recover(tmp_path / "v.avi") == ([], []) and sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("name", "ours"), [
    ("v.avi", True), ("v.000002.avi", True), ("v.1000000.avi", True), ("v.2.avi", False), ("v.avi.avi", False),
    ("v.00000x.avi", False), ("w.avi", False), ("vxavi", False)])
def test_the_names_are_told_from_others(name: str, ours: bool) -> None:
    assert bool(re.fullmatch(names_of(Path("v.avi")), name)) is ours


def test_the_file_in_work_has_the_name_that_is_looked_for(tmp_path: Path) -> None:
    writer = VideoFileWriter(tmp_path / "v+1.avi", 10.0, keeps=True)
    (there,) = tmp_path.iterdir()
    assert re.fullmatch(unfinished_names_of(tmp_path / "v+1.avi"), there.name)
    writer.abandon()
    assert list(tmp_path.iterdir()) == []
