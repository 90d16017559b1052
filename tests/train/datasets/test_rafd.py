"""RaFD: everything from the file name, on a small generated folder."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.errors import BadInput
from train.datasets.rafd import LABELS, load_rafd


def write(root: Path, *names: str) -> Path:
    for name in names:
        cv2.imwrite(str(root / name), np.full((32, 21, 3), 90, np.uint8))
    return root


def test_person_and_pose_come_from_the_name(tmp_path):
    faces = load_rafd(write(
        tmp_path, "Rafd000_01_Caucasian_female_angry_frontal.jpg", "Rafd090_58_Moroccan_male_happy_left.jpg",
        "Rafd180_64_Kid_female_surprised_right.jpg",
    ))
    assert faces.subjects.tolist() == ["01", "58", "64"]
    assert faces.poses.tolist() == [-90, 0, 90]
    assert [faces.label_names[i] for i in faces.labels] == ["angry", "happy", "surprised"]
    assert faces.images.shape == (3, 32, 21, 3)


@pytest.mark.parametrize(("index", "label"), list(enumerate(LABELS)))
def test_every_expression_has_its_label(tmp_path, index, label):
    assert load_rafd(write(tmp_path, f"Rafd045_30_Caucasian_male_{label}_left.jpg")).labels.tolist() == [index]


@pytest.mark.parametrize("name", [
    "Rafd060_01_Caucasian_female_angry_frontal.jpg", "Rafd090_01_Caucasian_female_bored_frontal.jpg", "portrait.jpg",
])
def test_other_names_are_named(tmp_path, name):
    write(tmp_path, "Rafd090_01_Caucasian_female_angry_frontal.jpg", name)
    assert load_rafd(tmp_path).unreadable == (name,)


def test_prepare_crops_each_photograph(tmp_path):
    write(tmp_path, "Rafd090_01_Caucasian_female_sad_left.jpg")
    assert load_rafd(tmp_path, prepare=lambda image: image[:16, :16, 0]).images.shape == (1, 16, 16)


def test_choosing_faces_keeps_person_and_pose(tmp_path):
    write(tmp_path, "Rafd000_01_Kid_male_sad_left.jpg", "Rafd135_02_Kid_male_sad_left.jpg")
    chosen = load_rafd(tmp_path).where(np.array([1]))
    assert chosen.subjects.tolist() == ["02"] and chosen.poses.tolist() == [45]


def test_a_folder_without_rafd_is_refused(tmp_path):
    with pytest.raises(BadInput, match="Rafd090"):
        load_rafd(tmp_path)
