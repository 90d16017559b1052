"""The annotated video: whole under its own name, or absent."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.errors import BadInput, MienError
from runtime.sinks.video import VideoFileWriter


def picture(value: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def read_all(path: Path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    capture.release()
    return frames


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "A.MP4", "new/folder/a.avi"])
def test_frames_come_back_from_the_file(tmp_path: Path, name: str) -> None:
    writer = VideoFileWriter(tmp_path / name, 20)
    for value in (0, 100, 200):
        writer.write(picture(value))
    writer.finish()
    assert [round(float(f.mean()), -1) for f in read_all(tmp_path / name)] == [0, 100, 200]


def test_nothing_has_the_name_before_it_is_whole(tmp_path: Path) -> None:
    writer = VideoFileWriter(tmp_path / "a.mp4", 20)
    writer.write(picture(0))
    assert not (tmp_path / "a.mp4").exists()
    writer.finish()
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_an_abandoned_video_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"old")
    writer = VideoFileWriter(tmp_path / "a.mp4", 20)
    writer.write(picture(0))
    writer.abandon()
    writer.abandon()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.mp4", b"old")]


def test_abandoning_after_the_end_changes_nothing(tmp_path: Path) -> None:
    writer = VideoFileWriter(tmp_path / "a.mp4", 20)
    writer.write(picture(0))
    writer.finish()
    writer.abandon()
    assert len(read_all(tmp_path / "a.mp4")) == 1


def test_a_video_of_somebodys_file_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    for count in (3, 1):
        writer = VideoFileWriter(tmp_path / "a.avi", 20)
        for _ in range(count):
            writer.write(picture(0))
        writer.finish()
    assert len(read_all(tmp_path / "a.avi")) == 1 and [p.name for p in tmp_path.iterdir()] == ["a.avi"]


def test_a_video_without_frames_leaves_no_file(tmp_path: Path) -> None:
    VideoFileWriter(tmp_path / "a.mp4", 20).finish()
    assert list(tmp_path.iterdir()) == []


def test_frames_of_other_sizes_are_fitted_into_the_first_ones(tmp_path: Path) -> None:
    writer = VideoFileWriter(tmp_path / "a.avi", 20)
    for size in ((48, 64), (96, 64), (33, 71), (1, 900)):
        writer.write(picture(200, size))
    writer.finish()
    frames = read_all(tmp_path / "a.avi")
    assert [f.shape for f in frames] == [(48, 64, 3)] * 4
    assert frames[1][24, 32, 0] > 180 and frames[1][24, 2, 0] < 40  # a tall one between black bars


def test_odd_sides_are_trimmed_to_even_ones(tmp_path: Path) -> None:
    writer = VideoFileWriter(tmp_path / "a.mp4", 20)
    writer.write(picture(90, (49, 65)))
    writer.finish()
    assert read_all(tmp_path / "a.mp4")[0].shape == (48, 64, 3)


@pytest.mark.parametrize("name", ["a.mkv", "a", "a.mp4.txt"])
def test_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=r"\.mp4 or \.avi"):
        VideoFileWriter(tmp_path / name, 20)


def test_a_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(BadInput, match="found a folder"):
        VideoFileWriter(tmp_path / "a.mp4", 20)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    with pytest.raises(BadInput, match="folder to write"):
        VideoFileWriter(tmp_path / "b" / "a.mp4", 20)


def test_a_name_that_the_disk_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="File name too long"):
        VideoFileWriter(tmp_path / ("a" * 250 + ".mp4"), 20)


def test_a_video_the_disk_cut_short_is_no_success(tmp_path: Path) -> None:
    writer = VideoFileWriter(tmp_path / "a.mp4", 20)
    writer.write(picture(0))
    (temporary,) = tmp_path.iterdir()
    temporary.unlink()  # what was written is gone, and OpenCV says nothing of it
    with pytest.raises(MienError, match="disk full"):
        writer.finish()
    assert list(tmp_path.iterdir()) == []
