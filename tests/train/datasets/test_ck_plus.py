"""CK+ in both layouts, on small generated trees; and the real 48×48 folder where it is."""

import contextlib
import dataclasses
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

import mien
from runtime.errors import DONE, BadInput
from train.datasets import load_dataset
from train.datasets.ck_plus import LABELS, load_ck_plus
from train.expression.parts import load_faces
from train.recipe import load_recipe


def write_face(path: Path, grey: int = 100, shape: tuple[int, int] = (48, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full(shape, grey, np.uint8))


def write_sequence(root: Path, subject: str, code: str | None, frames: int = 5, shape=(48, 48)) -> None:
    for frame in range(1, frames + 1):
        write_face(root / f"cohn-kanade-images/{subject}/001/{subject}_001_{frame:08}.png", 10 * frame, shape)
    folder = root / f"Emotion/{subject}/001"
    folder.mkdir(parents=True)  # CK+ has an empty folder where there is no emotion
    if code is not None:
        (folder / f"{subject}_001_{frames:08}_emotion.txt").write_text(code)


def test_folder_gives_label_person_and_pixels(tmp_path):
    write_face(tmp_path / "anger/S010_004_00000017.png", 33)
    write_face(tmp_path / "surprise/S011_001_00000009.png", 44)
    faces = load_ck_plus(tmp_path)
    assert faces.images.shape == (2, 48, 48) and faces.images.dtype == np.uint8
    assert [faces.label_names[i] for i in faces.labels] == ["anger", "surprise"]
    assert faces.subjects.tolist() == ["S010", "S011"]
    assert faces.images[:, 0, 0].tolist() == [33, 44]
    assert faces.splits.tolist() == ["All", "All"]


def test_folder_names_what_it_cannot_read(tmp_path):
    write_face(tmp_path / "fear/S010_004_00000017.png")
    write_face(tmp_path / "fear/S010_004_00000018.png", shape=(64, 64))
    write_face(tmp_path / "fear/portrait.png")
    (tmp_path / "fear/S010_004_00000019.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "fear/.DS_Store").write_bytes(b"")
    faces = load_ck_plus(tmp_path)
    assert len(faces) == 1
    assert set(faces.unreadable) == {
        "fear/S010_004_00000018.png", "fear/S010_004_00000019.png", "fear/portrait.png",
    }


def test_sequences_give_their_last_three_frames(tmp_path):
    write_sequence(tmp_path, "S005", "   3.0000000e+00\n")
    faces = load_ck_plus(tmp_path)
    assert faces.images[:, 0, 0].tolist() == [30, 40, 50]
    assert {faces.label_names[i] for i in faces.labels} == {"disgust"}
    assert set(faces.subjects.tolist()) == {"S005"}


@pytest.mark.parametrize(("code", "label"), list(enumerate(LABELS, start=1)))
def test_emotion_codes_are_the_published_ones(tmp_path, code, label):
    write_sequence(tmp_path, "S005", f"   {code}.0000000e+00\n")
    faces = load_ck_plus(tmp_path)
    assert faces.label_names[faces.labels[0]] == label


def test_sequences_without_an_emotion_are_left_out(tmp_path):
    write_sequence(tmp_path, "S005", "   1.0000000e+00\n")
    write_sequence(tmp_path, "S006", None)
    faces = load_ck_plus(tmp_path)
    assert set(faces.subjects.tolist()) == {"S005"} and faces.unreadable == ()


@pytest.mark.parametrize("code", ["", "happy", "0.0", "8.0", "2.5", "nan"])
def test_emotion_files_that_say_nothing_are_named(tmp_path, code):
    write_sequence(tmp_path, "S005", "   1.0000000e+00\n")
    write_sequence(tmp_path, "S006", code)
    assert load_ck_plus(tmp_path).unreadable == ("Emotion/S006/001/S006_001_00000005_emotion.txt",)


def test_frames_of_two_sizes_need_a_crop(tmp_path):
    write_sequence(tmp_path, "S005", "   1.0000000e+00\n", shape=(490, 640))
    write_sequence(tmp_path, "S006", "   1.0000000e+00\n", shape=(480, 640))
    with pytest.raises(BadInput, match="give a crop to one size"):
        load_ck_plus(tmp_path)
    assert load_ck_plus(tmp_path, prepare=lambda image: cv2.resize(image, (32, 32))).images.shape == (6, 32, 32)


def test_a_folder_that_is_no_class_is_refused(tmp_path):
    write_face(tmp_path / "anger/S010_004_00000017.png")
    write_face(tmp_path / "happyness/S010_004_00000018.png")
    with pytest.raises(BadInput, match="rename it to happy"):
        load_ck_plus(tmp_path)


@pytest.mark.parametrize("layout", ["", "cohn-kanade-images/S005/001"])
def test_a_folder_without_labels_is_refused(tmp_path, layout):
    (tmp_path / layout).mkdir(parents=True, exist_ok=True)
    with pytest.raises(BadInput):
        load_ck_plus(tmp_path)


@pytest.mark.skipif("MIEN_DATA" not in os.environ, reason="MIEN_DATA does not name the folder with ck48")
def test_the_real_folder_is_as_published():
    faces = load_dataset("ck-plus", Path(os.environ["MIEN_DATA"]) / "ck48")  # a difference would be a warning
    assert faces.images.shape == (981, 48, 48)
    assert len(set(faces.subjects.tolist())) == 118
    assert faces.unreadable == ()


def test_the_original_frames_of_two_sizes_can_be_checked(tmp_path, capsys):
    write_sequence(tmp_path, "S005", "   3.0000000e+00\n", shape=(490, 640))
    write_sequence(tmp_path, "S010", "   1.0000000e+00\n", shape=(480, 640))
    assert mien.main(["data", "check", "ck-plus", str(tmp_path)]) == DONE
    said = capsys.readouterr().err
    assert said.splitlines()[1].split() == ["All", "3", "0", "3", "0", "0", "0", "0", "6"]
    assert "differs from the published set" in said and "of images as 48×48 grey" in said


@pytest.mark.parametrize(("face", "said"), [("whole", True), ("haar", False)])
def test_a_recipe_that_takes_whole_frames_for_faces_is_warned_of(tmp_path, face, said):
    write_sequence(tmp_path, "S005", "   3.0000000e+00\n", shape=(490, 640))
    recipe = dataclasses.replace(load_recipe("paper-c-ck-plus"), face=face)
    with warnings.catch_warnings(record=True) as caught, contextlib.suppress(BadInput):  # Haar finds no face in grey
        warnings.simplefilter("always")
        load_faces(recipe, tmp_path)
    assert any("holds whole pictures" in str(warning.message) for warning in caught) == said
