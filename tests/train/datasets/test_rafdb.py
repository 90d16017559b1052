"""RAF-DB's published layout on a small generated tree."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.errors import BadInput
from train.datasets.rafdb import LABELS, LIST, load_rafdb


def write_tree(root: Path, lines: list[str], images: list[str] | None = None, side: int = 100) -> Path:
    (root / "basic/EmoLabel").mkdir(parents=True)
    (root / "basic/Image/aligned").mkdir(parents=True)
    (root / "basic" / LIST).write_text("\n".join(lines) + "\n")
    for name in images if images is not None else [line.split(".")[0] for line in lines]:
        cv2.imwrite(str(root / f"basic/Image/aligned/{name}_aligned.jpg"), np.full((side, side, 3), 120, np.uint8))
    return root


def test_splits_and_labels_come_from_the_list(tmp_path):
    faces = load_rafdb(write_tree(tmp_path, ["train_00001.jpg 5", "train_00002.jpg 4", "test_0001.jpg 7"]))
    assert faces.splits.tolist() == ["train", "train", "test"]
    assert [faces.label_names[i] for i in faces.labels] == ["sadness", "happiness", "neutral"]
    assert faces.images.shape == (3, 100, 100, 3)


@pytest.mark.parametrize(("code", "label"), list(enumerate(LABELS, start=1)))
def test_codes_are_the_published_ones(tmp_path, code, label):
    faces = load_rafdb(write_tree(tmp_path, [f"train_00001.jpg {code}"]))
    assert faces.label_names[faces.labels[0]] == label


def test_colours_are_red_green_blue(tmp_path):
    write_tree(tmp_path, ["train_00001.jpg 1"])
    red = np.zeros((100, 100, 3), np.uint8)
    red[..., 2] = 250  # OpenCV writes blue, green, red
    cv2.imwrite(str(tmp_path / "basic/Image/aligned/train_00001_aligned.jpg"), red)
    pixel = load_rafdb(tmp_path).images[0, 50, 50]
    assert pixel[0] > 200 and pixel[1] < 50 and pixel[2] < 50


def test_the_folder_basic_itself_may_be_given(tmp_path):
    write_tree(tmp_path, ["train_00001.jpg 1"])
    assert len(load_rafdb(tmp_path / "basic")) == 1


def test_what_cannot_be_read_is_named(tmp_path):
    lines = ["train_00001.jpg 1", "train_00002.jpg 2", "train_00003.jpg 9", "nonsense"]
    write_tree(tmp_path, lines, images=["train_00001", "train_00003", "test_0009"])
    faces = load_rafdb(tmp_path)
    assert len(faces) == 1
    assert set(faces.unreadable) == {
        f"{LIST}:3", f"{LIST}:4",  # no such label; no image
        "Image/aligned/train_00002_aligned.jpg",  # listed, not there
        "Image/aligned/train_00003_aligned.jpg", "Image/aligned/test_0009_aligned.jpg",  # there, not listed
    }


def test_another_size_is_named(tmp_path):
    write_tree(tmp_path, ["train_00001.jpg 1", "train_00002.jpg 1"])
    cv2.imwrite(str(tmp_path / "basic/Image/aligned/train_00002_aligned.jpg"), np.zeros((90, 90, 3), np.uint8))
    assert load_rafdb(tmp_path).unreadable == ("Image/aligned/train_00002_aligned.jpg",)


def test_a_folder_without_the_list_is_refused(tmp_path):
    with pytest.raises(BadInput, match="list_patition_label.txt"):
        load_rafdb(tmp_path)


def test_an_image_listed_twice_counts_once(tmp_path):
    faces = load_rafdb(write_tree(tmp_path, ["train_00001.jpg 1", "train_00001.jpg 2"]))
    assert faces.labels.tolist() == [0] and faces.unreadable == (f"{LIST}:2",)
