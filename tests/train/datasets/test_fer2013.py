"""FER2013 from Kaggle's folder and from fer2013.csv: the same faces, and nothing skipped in silence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.card import load_model
from runtime.errors import BadInput
from train.datasets.fer2013 import LABELS, PUBLISHED, load_fer2013
from train.datasets.labelled_faces import LabelledFaces, find_duplicates

# usage, number in it, label: one row of the published set each
ROWS = [("Training", 0, 3), ("Training", 1, 0), ("Training", 10, 6), ("PublicTest", 2, 1), ("PrivateTest", 3, 5)]


def face(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (48, 48), dtype=np.uint8)


def write_folder(root: Path) -> Path:
    """Write the layout of Kaggle's folder, where both tests lie under test/."""
    for usage, number, label in ROWS:
        folder = root / ("train" if usage == "Training" else "test") / LABELS[label]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{usage}_{number}.png"), face(number))
    return root


def csv_line(usage: str, number: int, label: int | str) -> str:
    return f"{label},{' '.join(map(str, face(number).ravel()))},{usage}"


def write_csv(path: Path, *more: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [csv_line(usage, number, label) for usage, number, label in ROWS]
    path.write_text("\n".join(["emotion,pixels,Usage", *lines, *more]) + "\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "fer2013")


def test_folder_and_csv_give_the_same_faces(folder: Path, tmp_path: Path) -> None:
    one, other = load_fer2013(folder), load_fer2013(write_csv(tmp_path / "fer2013.csv"))
    for name in ("images", "labels", "splits"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert one.sha256() == other.sha256()


def test_pixels_labels_and_splits_are_those_that_were_written(folder: Path) -> None:
    faces = load_fer2013(folder)
    assert [tuple(r) for r in zip(faces.splits, faces.labels)] == [(usage, label) for usage, _, label in ROWS]
    assert all(np.array_equal(image, face(number)) for image, (_, number, _) in zip(faces.images, ROWS))
    assert faces.images.dtype == np.uint8 and faces.label_names == LABELS


def test_the_order_is_by_number_not_by_text(folder: Path) -> None:
    assert [Path(n).name for n in load_fer2013(folder).names[:3]] == [
        "Training_0.png", "Training_1.png", "Training_10.png"]


def test_the_split_is_the_file_names_not_the_folders(folder: Path) -> None:
    assert load_fer2013(folder).split("PublicTest").names == ["test/disgust/PublicTest_2.png"]


def test_a_file_named_otherwise_counts_to_its_folder(folder: Path) -> None:
    (folder / "test/happy").mkdir()
    assert cv2.imwrite(str(folder / "test/happy/im7.png"), face(7))
    assert load_fer2013(folder).split("Test").names == ["test/happy/im7.png"]


def test_a_folder_that_holds_the_csv_is_read(tmp_path: Path) -> None:
    write_csv(tmp_path / "set" / "fer2013.csv")
    assert len(load_fer2013(tmp_path / "set")) == len(ROWS)


@pytest.mark.parametrize("damage", [
    lambda content: b"", lambda content: content[: len(content) * 2 // 3], lambda content: b"not a picture",
    lambda content: content[:200] + bytes([content[200] ^ 16]) + content[201:],
    lambda content: cv2.imencode(".png", np.zeros((47, 48), np.uint8))[1].tobytes()])
def test_a_damaged_file_is_named_and_the_rest_is_read(folder: Path, damage) -> None:
    file = folder / "train/neutral/Training_10.png"
    file.write_bytes(damage(file.read_bytes()))
    faces = load_fer2013(folder)
    assert faces.unreadable == ("train/neutral/Training_10.png",) and len(faces) == len(ROWS) - 1


@pytest.mark.parametrize("line", [
    csv_line("Training", 9, 7), csv_line("Training", 9, ""), csv_line("Training", 9, "-1"),
    csv_line("Training", 9, "9" * 5000), csv_line("Validation", 9, 1), "1,1 2 3,Training", "1,,Training", "1",
    csv_line("Training", 9, 1).replace(",", ",300 ", 1), csv_line("Training", 9, 1)[:-20] + " x,Training"])
def test_a_damaged_row_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    faces = load_fer2013(write_csv(tmp_path / "fer2013.csv", line))
    assert faces.unreadable == ("fer2013.csv:7",) and len(faces) == len(ROWS)


def test_hidden_files_are_no_faces(folder: Path) -> None:
    (folder / "train/happy/.DS_Store").write_bytes(b"x")
    assert load_fer2013(folder).unreadable == ()


def test_a_prepared_face_takes_the_place_of_the_one_read(folder: Path) -> None:
    faces = load_fer2013(folder, prepare=lambda image: None if image is None else cv2.resize(image, (64, 64)))
    assert faces.images.shape == (len(ROWS), 64, 64)


@pytest.mark.parametrize(("name", "words"), [("nowhere", "check the path"), ("fer2013.txt", "check the path")])
def test_what_is_no_fer2013_is_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "fer2013.txt").write_text("x")
    with pytest.raises(BadInput, match=words):
        load_fer2013(tmp_path / name)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="found no image"):
        load_fer2013(tmp_path)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_text("label,image\n1,2\n")
    with pytest.raises(BadInput, match="expected the columns emotion,pixels,Usage"):
        load_fer2013(tmp_path / "fer2013.csv")


@pytest.mark.parametrize("content", [b"emotion,pixels,Usage\n" + b"1" * 200_000 + b"\n", b"", bytes(range(256)) * 9])
def test_bytes_that_are_no_csv_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fer2013.csv").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load_fer2013(tmp_path / "fer2013.csv")
    assert "\n" not in str(caught.value)


def test_nothing_but_damage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train/happy").mkdir(parents=True)
    (tmp_path / "train/happy/Training_1.png").write_bytes(b"x")
    with pytest.raises(BadInput, match="found 1 damaged ones"):
        load_fer2013(tmp_path)


# the published set

@pytest.fixture(scope="module")
def published(mien_data: Path) -> LabelledFaces:
    return load_fer2013(mien_data / "fer2013")


def test_the_published_set_is_whole(published: LabelledFaces) -> None:
    assert {s: sum(row.values()) for s, row in published.counts().items()} == PUBLISHED
    assert published.unreadable == () and published.counts()["Training"]["disgust"] == 436


def test_the_known_copies_are_found(published: LabelledFaces) -> None:
    copies = find_duplicates(published)
    assert copies.across == {("Training", "PublicTest"): (280, 13), ("Training", "PrivateTest"): (288, 15),
                             ("PublicTest", "PrivateTest"): (44, 2)}
    assert copies.extra_inside["Training"] == 1236


def test_the_shipped_model_was_trained_on_this_very_set(published: LabelledFaces) -> None:
    training = load_model(Path("mien-light")).card.training
    assert training["data"] == {"name": "fer2013", "sha256": published.sha256(), "training_images": 28709,
                                "chosen_on": 3589, "reported_images": 3589, "shared_people": None}


def test_a_class_folder_of_another_case_is_read(folder: Path) -> None:
    whole = len(load_fer2013(folder))
    (folder / "train" / LABELS[3]).rename(folder / "train" / LABELS[3].capitalize())
    assert len(load_fer2013(folder)) == whole


@pytest.mark.parametrize("stranger", ["train/fearful", "validation"])
def test_a_folder_that_is_no_class_or_split_is_refused_not_skipped(folder: Path, stranger: str) -> None:
    (folder / stranger).mkdir(parents=True)
    with pytest.raises(BadInput, match=Path(stranger).name):
        load_fer2013(folder)


def test_a_csv_that_a_spreadsheet_saved_is_read(folder: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "fer2013.csv")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())  # its mark of UTF-8 stands before the first column's name
    assert len(load_fer2013(file)) == len(load_fer2013(folder))


def test_folders_that_differ_in_capitals_only_are_refused(folder: Path) -> None:
    (folder / "Train").mkdir()
    with pytest.raises(BadInput, match="expected each folder once in .*, found Train, .*differ in capitals only"):
        load_fer2013(folder)
