"""Labelling: real pictures and the real teacher, at full size, with what is no picture refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.errors import BadInput, BadModel
from train.faces.labels import FaceLabels
from train.faces.pictures import SURE_OF_HEAD, Pictures, load_pictures
from train.faces.teacher import DOUBTED, Teacher, pictures_in


def test_nearly_every_head_shot_has_one_face_of_a_sure_teacher(labels: FaceLabels) -> None:
    sure = [len(labels.heads.of(i)) == 1 and labels.heads.scores[labels.heads.of(i)[0]] >= SURE_OF_HEAD
            for i in range(len(labels.heads.names))]
    assert np.mean(sure) > 0.9


def test_no_find_is_below_doubt(labels: FaceLabels) -> None:
    assert min(labels.heads.scores.min(), labels.scenes.scores.min()) >= DOUBTED


def test_the_eyes_lie_above_the_mouth(labels: FaceLabels) -> None:
    landmarks = labels.heads.landmarks[labels.heads.scores >= SURE_OF_HEAD]
    assert (landmarks[:, :2, 1].mean(1) < landmarks[:, 3:, 1].mean(1)).all()


def test_a_face_at_the_border_keeps_its_whole_box(teacher: Teacher, face_photo: np.ndarray) -> None:
    whole = teacher.find(face_photo).boxes[0]
    cut = teacher.find(face_photo[:, int(whole[0] + whole[2] * 0.15) :]).boxes[0]
    assert cut[0] < 0  # what a stream would clip


def test_pictures_are_read_in_order_and_nothing_else_is(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "notes.txt"):
        (tmp_path / name).touch()
    assert pictures_in(tmp_path) == ["a.PNG", "b.jpg"]


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_without_pictures_is_refused(tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "heads"
    if make:
        folder.mkdir()
    with pytest.raises(BadInput, match="check --data"):
        pictures_in(folder)


def test_a_missing_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="check --teacher"):
        Teacher(tmp_path / "none.onnx")


def test_a_graph_of_one_size_is_no_teacher(mien_data: Path) -> None:
    with pytest.raises(BadModel, match="free input size"):
        Teacher(mien_data / "models" / "yunet_n_320_320.onnx")


def test_parts_share_no_picture(small_data: Path, labels: FaceLabels) -> None:
    parts = [load_pictures(small_data, labels, part) for part in ("training", "reported")]
    boxes = [{tuple(head.box.tolist()) for head in part.heads} for part in parts]
    assert boxes[0] and boxes[1] and not boxes[0] & boxes[1]


def test_a_picture_changed_since_is_refused(small_data: Path, labels: FaceLabels) -> None:
    hashes = np.full_like(labels.heads.sha256, "0" * 64)
    changed = dataclasses.replace(labels, heads=dataclasses.replace(labels.heads, sha256=hashes))
    with pytest.raises(BadInput, match="label again"):
        load_pictures(small_data, changed, "training")


def test_a_heads_pyramid_halves(pictures: Pictures) -> None:
    assert [level.shape for level in pictures.heads[0].levels] == [(s, s) for s in (256, 128, 64, 32, 16)]


def test_a_photographs_picture_is_grey(small_data: Path, pictures: Pictures) -> None:
    colours = cv2.imread(str(small_data / "scenes" / "000.jpg"))
    assert pictures.photographs[0].picture.ndim == 2 and colours.ndim == 3
