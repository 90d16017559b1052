"""Files with known labels → one array."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.errors import BadInput
from train.datasets import labelled_files
from train.datasets.labelled_files import LabelledFile, read_labelled_files


def write(root: Path, *sides: int) -> list[LabelledFile]:
    files = []
    for number, side in enumerate(sides):
        path = root / f"{number}.png"
        cv2.imwrite(str(path), np.full((side, side), 10 * number, np.uint8))
        files.append(LabelledFile(path, label=number % 2))
    return files


def test_order_and_labels_are_kept(tmp_path):
    faces = read_labelled_files(write(tmp_path, 8, 8, 8), tmp_path, ("a", "b"), colour=False)
    assert faces.images[:, 0, 0].tolist() == [0, 10, 20] and faces.labels.tolist() == [0, 1, 0]
    assert faces.names == ["0.png", "1.png", "2.png"]


def test_a_face_that_prepare_does_not_find_is_named(tmp_path):
    faces = read_labelled_files(
        write(tmp_path, 8, 8, 8), tmp_path, ("a", "b"), colour=False,
        prepare=lambda image: image if image[0, 0] != 10 else None,
    )
    assert faces.unreadable == ("1.png",) and faces.labels.tolist() == [0, 0]


def test_sizes_that_differ_are_refused(tmp_path):
    with pytest.raises(BadInput, match="found \\(8, 8\\) and \\(9, 9\\) \\(1.png\\)"):
        read_labelled_files(write(tmp_path, 8, 9), tmp_path, ("a", "b"), colour=False)


def test_more_than_fits_in_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(labelled_files, "MAX_BYTES", 100)
    with pytest.raises(BadInput, match="give a crop that makes them smaller"):
        read_labelled_files(write(tmp_path, 8, 8), tmp_path, ("a", "b"), colour=False)


def test_nothing_readable_is_refused(tmp_path):
    (tmp_path / "0.png").write_bytes(b"")
    with pytest.raises(BadInput, match="found 1 unreadable"):
        read_labelled_files([LabelledFile(tmp_path / "0.png", 0)], tmp_path, ("a",), colour=False)


def test_person_and_pose_are_none_where_the_names_do_not_tell(tmp_path):
    faces = read_labelled_files(write(tmp_path, 8), tmp_path, ("a",), colour=False)
    assert faces.subjects is None and faces.poses is None
