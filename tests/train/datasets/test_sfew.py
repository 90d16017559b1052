"""SFEW's published layouts on small generated trees."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.errors import BadInput
from train.datasets.sfew import holds_frames, load_sfew


def write_face(path: Path, shape: tuple[int, int] = (181, 143)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*shape, 3), 90, np.uint8))


@pytest.mark.parametrize("layout", ["{0}_Aligned_Faces", "{0}/{0}_Aligned_Faces", "{0}"])
def test_splits_and_labels_come_from_the_folders(tmp_path, layout):
    write_face(tmp_path / layout.format("Train") / "Angry/Airheads_000519240_00000005.png")
    write_face(tmp_path / layout.format("Val") / "Surprise/Hangover_001.png")
    faces = load_sfew(tmp_path)
    assert faces.splits.tolist() == ["Train", "Val"]
    assert [faces.label_names[i] for i in faces.labels] == ["angry", "surprise"]
    assert faces.images.shape == (2, 181, 143, 3)


def test_class_order_is_alphabetical(tmp_path):
    for name in ("Surprise", "Sad", "Neutral", "Happy", "Fear", "Disgust", "Angry"):
        write_face(tmp_path / f"Train/{name}/a.png")
    faces = load_sfew(tmp_path)
    assert faces.labels.tolist() == list(range(7))
    assert list(faces.label_names) == sorted(faces.label_names)


def test_aligned_faces_are_taken_before_whole_frames(tmp_path):
    write_face(tmp_path / "Train/Sad/a.png", (576, 720))
    write_face(tmp_path / "Train_Aligned_Faces/Sad/a.png")
    assert load_sfew(tmp_path).names == ["Train_Aligned_Faces/Sad/a.png"]


def test_test_images_without_labels_are_named(tmp_path):
    write_face(tmp_path / "Train/Sad/a.png")
    write_face(tmp_path / "Test/unknown_1.png")
    faces = load_sfew(tmp_path)
    assert faces.splits.tolist() == ["Train"] and faces.unreadable == ("Test/unknown_1.png",)


def test_a_folder_without_sfew_is_refused(tmp_path):
    with pytest.raises(BadInput, match="Train_Aligned_Faces"):
        load_sfew(tmp_path)


def test_frames_alone_are_told_from_aligned_faces(tmp_path):
    write_face(tmp_path / "Train/Sad/a.png", (576, 720))
    assert holds_frames(tmp_path)
    write_face(tmp_path / "Train_Aligned_Faces/Sad/a.png")
    assert not holds_frames(tmp_path)


def test_aligned_faces_of_one_split_and_frames_of_the_other_are_refused(tmp_path):
    write_face(tmp_path / "Train_Aligned_Faces/Sad/a.png")
    write_face(tmp_path / "Val/Sad/b.png", (576, 720))
    for read in (load_sfew, holds_frames):
        with pytest.raises(BadInput, match="found Val as frames alone; unpack Val_Aligned_Faces there too"):
            read(tmp_path)
