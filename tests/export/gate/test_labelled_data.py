"""Any data set under a model's labels: which faces, which splits, what is left out, what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_model import LABELS, write_tiny_model

from export.gate.labelled_data import MEANING, DataAsked, load_checked_faces
from runtime.card import ModelCard, load_model
from runtime.errors import BadInput
from runtime.faces.detector import Faces
from runtime.preprocess import FaceInput
from train.datasets.label_maps import EMOTIONS


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    """A card that was trained on FER2013."""
    made = load_model(write_tiny_model(tmp_path / "model")).card
    return dataclasses.replace(made, training={**made.training, "data": {"name": "fer2013"}})


def write(path: Path, grey: int, shape: tuple[int, ...] = (48, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full(shape, grey, np.uint8))


def raf_db(root: Path, greys: dict[str, list[int]]) -> Path:
    """Write RAF-DB's layout: a face a grey level, every label in turn."""
    lines = []
    for split, levels in greys.items():
        for number, grey in enumerate(levels):
            write(root / "basic/Image/aligned" / f"{split}_{number:05}_aligned.jpg", grey, (100, 100, 3))
            lines.append(f"{split}_{number:05}.jpg {number % 7 + 1}")
    (root / "basic/EmoLabel").mkdir(parents=True)
    (root / "basic/EmoLabel/list_patition_label.txt").write_text("\n".join(lines))
    return root


def test_no_word_means_two_emotions() -> None:
    assert all(MEANING[word] == emotion for words in EMOTIONS.values() for word, emotion in words.items())


def test_class_named_folders_are_recognised_and_read_at_any_size(card: ModelCard, tmp_path: Path) -> None:
    write(tmp_path / "my/Happy/a.png", 40, (60, 90, 3))
    write(tmp_path / "my/sad/b.jpg", 200, (48, 48))
    found = load_checked_faces(DataAsked(tmp_path / "my"), card)
    assert found.faces.shape == (2, 1, 48, 48) and [LABELS[i] for i in found.labels] == ["happy", "sad"]
    assert np.abs(found.faces[:, 0, 24, 24].astype(int) - (40, 200)).max() <= 1
    assert found.facts["name"] == "folders" and found.facts["splits"] == ["All"] and found.warnings == ()


def test_a_folder_that_is_no_class_is_refused_with_the_way_to_name_a_data_set(card: ModelCard, tmp_path: Path) -> None:
    write(tmp_path / "my/happy/a.png", 40)
    write(tmp_path / "my/anger/a.png", 40)
    with pytest.raises(BadInput, match="rename it to angry; a known data set is named with --dataset"):
        load_checked_faces(DataAsked(tmp_path / "my"), card)


@pytest.mark.parametrize("dataset", ["", "folders"])
def test_fer2013s_own_training_folder_is_refused_and_the_one_above_is_taken(card: ModelCard, tmp_path: Path,
                                                                            dataset: str) -> None:
    for number, name in enumerate(("train/happy/Training_1", "train/sad/Training_2", "test/sad/PrivateTest_3")):
        write(tmp_path / f"set/{name}.png", 60 * number)
    for half in ("train", "test"):
        with pytest.raises(BadInput, match=f"found its half .*{half}; give the folder above"):
            load_checked_faces(DataAsked(tmp_path / "set" / half, dataset), card)
    assert load_checked_faces(DataAsked(tmp_path / "set"), card).facts["splits"] == ["PrivateTest"]


def test_a_train_and_a_test_folder_of_ones_own_are_two_sets(card: ModelCard, tmp_path: Path) -> None:
    for name in ("train/happy/1", "test/happy/2"):
        write(tmp_path / f"my/{name}.png", 40)
    assert load_checked_faces(DataAsked(tmp_path / "my/test"), card).facts["name"] == "folders"


def test_a_damaged_file_is_counted_and_named(card: ModelCard, tmp_path: Path) -> None:
    write(tmp_path / "my/happy/a.png", 40)
    (tmp_path / "my/happy/b.png").write_bytes(b"no image")
    found = load_checked_faces(DataAsked(tmp_path / "my"), card)
    assert found.facts["unreadable"] == 1 and "happy/b.png" in found.warnings[0]


@pytest.mark.parametrize("name", ["my/happy", "nowhere"])
def test_no_images_are_refused(card: ModelCard, tmp_path: Path, name: str) -> None:
    (tmp_path / "my/happy").mkdir(parents=True)
    with pytest.raises(BadInput, match="expected"):
        load_checked_faces(DataAsked(tmp_path / name.partition("/")[0], "folders"), card)


def test_another_sets_words_become_the_models_and_what_it_lacks_is_left_out(card: ModelCard, tmp_path: Path) -> None:
    for label in ("anger", "contempt", "sadness"):
        write(tmp_path / f"ck/{label}/S010_004_00000017.png", 40)
    found = load_checked_faces(DataAsked(tmp_path / "ck", "ck-plus"), card)
    assert [LABELS[i] for i in found.labels] == ["angry", "sad"] and found.facts["left_out"] == 1
    assert "no label for contempt" in found.warnings[0]


def test_the_same_words_in_another_order_are_matched_for_another_set(card: ModelCard, tmp_path: Path) -> None:
    write(tmp_path / "sfew/Val_Aligned_Faces/Neutral/a.png", 40, (181, 143, 3))
    found = load_checked_faces(DataAsked(tmp_path / "sfew", "sfew"), card)
    assert LABELS[found.labels[0]] == "neutral" and found.facts["splits"] == ["Val"]


def test_a_sets_own_model_with_its_labels_permuted_is_refused(card: ModelCard, tmp_path: Path) -> None:
    turned = dataclasses.replace(card, labels=(*card.labels[1:], card.labels[0]), training={"data": {"name": "sfew"}})
    write(tmp_path / "sfew/Val_Aligned_Faces/Neutral/a.png", 40, (181, 143, 3))
    with pytest.raises(BadInput, match="the labels are permuted"):
        load_checked_faces(DataAsked(tmp_path / "sfew", "sfew"), turned)


def test_labels_that_no_set_knows_are_refused(card: ModelCard, tmp_path: Path) -> None:
    odd = dataclasses.replace(card, labels=(*card.labels[:6], "bored"))
    with pytest.raises(BadInput, match="found bored"):
        load_checked_faces(DataAsked(raf_db(tmp_path / "raf", {"test": [10]}), "raf-db"), odd)


def test_the_usual_split_is_taken_less_copies_of_training_images(card: ModelCard, tmp_path: Path) -> None:
    root = raf_db(tmp_path / "raf", {"train": [10, 20, 30], "test": [20, 200]})
    found = load_checked_faces(DataAsked(root, "raf-db"), card)
    assert found.facts["splits"] == ["test"] and found.facts["without_copies"] and len(found.labels) == 1
    assert found.faces.shape == (1, 1, 48, 48) and abs(int(found.faces[0, 0, 0, 0]) - 200) < 3
    assert len(load_checked_faces(DataAsked(root, "raf-db", with_copies=True), card).labels) == 2


def test_training_faces_are_kept_when_asked_for_and_warned_of(card: ModelCard, tmp_path: Path) -> None:
    root = raf_db(tmp_path / "raf", {"train": [10, 20, 30], "test": [20, 200]})
    found = load_checked_faces(DataAsked(root, "raf-db", ("train", "test", "test")), card)
    assert len(found.labels) == 5 and found.facts["pooled"] and found.facts["splits"] == ["train", "test"]
    assert "trained on these faces" in found.warnings[0]


def test_a_split_that_is_not_there_is_refused_with_those_that_are(card: ModelCard, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--split takes train, test"):
        load_checked_faces(DataAsked(raf_db(tmp_path / "raf", {"train": [1], "test": [9]}), "raf-db", ("Val",)), card)


def test_colours_reach_a_colour_network_in_its_order(card: ModelCard, tmp_path: Path) -> None:
    colour = dataclasses.replace(card, input=FaceInput(48, 48, "rgb"))
    red = np.zeros((100, 100, 3), np.uint8)
    red[..., 2] = 250  # OpenCV writes BGR
    (tmp_path / "my/happy").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "my/happy/a.png"), red)
    own = load_checked_faces(DataAsked(tmp_path / "my"), colour).faces
    root = raf_db(tmp_path / "raf", {"test": [9]})
    cv2.imwrite(str(root / "basic/Image/aligned/test_00000_aligned.jpg"), red)
    known = load_checked_faces(DataAsked(root, "raf-db"), colour).faces
    for faces in (own, known):
        assert faces.shape == (1, 3, 48, 48) and faces[0, 0].min() > 240 and faces[0, 1:].max() < 10


class OneBox:
    """A detector that finds one box where a picture is not black."""

    name = "one-box"

    def detect(self, frame: np.ndarray) -> Faces:
        if not frame.any():
            return Faces.none()
        return Faces(np.array([[10, 10, 20, 20]], np.float32), None, np.ones(1, np.float32))

    def close(self) -> None:
        pass


def test_photographs_need_a_detector_which_cuts_their_faces(card: ModelCard, tmp_path: Path) -> None:
    image = np.full((60, 40), 30, np.uint8)
    image[10:30, 10:30] = 220
    (tmp_path / "rafd").mkdir()
    cv2.imwrite(str(tmp_path / "rafd/Rafd090_01_Caucasian_female_angry_frontal.jpg"), image)
    write(tmp_path / "rafd/Rafd090_01_Caucasian_female_sad_frontal.jpg", 0, (60, 40))
    with pytest.raises(BadInput, match="add --faces mien-face"):
        load_checked_faces(DataAsked(tmp_path / "rafd", "rafd"), card)
    found = load_checked_faces(DataAsked(tmp_path / "rafd", "rafd", detector=OneBox()), card)
    assert found.faces.shape == (1, 1, 48, 48) and found.faces[0, 0, 24, 24] > 200
    assert found.facts["faces"] == "one-box" and found.facts["unreadable"] == 1


def test_ck_plus_as_people_have_it_is_checked_under_fer2013s_labels(card: ModelCard, mien_data: Path) -> None:
    found = load_checked_faces(DataAsked(mien_data / "ck48", "ck-plus"), card)
    assert found.facts["images"] == len(found.labels) == 927 and found.facts["left_out"] == 54
    assert np.bincount(found.labels, minlength=7).tolist() == [135, 177, 75, 207, 84, 249, 0]
