"""Parts: each protocol trains on, chooses on and reports what it says, and never the same face twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.errors import BadInput
from train.datasets.labelled_faces import LabelledFaces
from train.expression.parts import face_input, load_faces, parts_of, warn_of_untrained
from train.recipe import Recipe


def recipe(**changes: Any) -> Recipe:
    return Recipe(**{"name": "x", "network": "small-vgg", "batch_size": 2} | changes)


def people(count: int = 60, splits: str = "All") -> LabelledFaces:
    """Grey faces of 20 people, three of each."""
    return LabelledFaces(np.zeros((count, 48, 48), np.uint8), np.arange(count) % 2, np.array([splits] * count),
                         [str(i) for i in range(count)], ("a", "b"),
                         subjects=np.array([f"S{i // 3}" for i in range(count)]))


def test_the_canonical_split_chooses_on_one_part_and_reports_another() -> None:
    faces = people()
    splits = np.repeat(["Training", "PublicTest", "PrivateTest"], 20)
    parts = parts_of(recipe(), LabelledFaces(faces.images, faces.labels, splits, faces.names, faces.label_names))
    assert parts.choosing is not None
    assert [set(p.splits) for p in (parts.training, parts.choosing, parts.reported)] == [
        {"Training"}, {"PublicTest"}, {"PrivateTest"}]
    assert parts.shared_people is None


@pytest.mark.parametrize("protocol", ["random-90-10", "ten-fold", "ten-fold-by-subject"])
def test_a_drawn_protocol_has_nothing_to_choose_on(protocol: str) -> None:
    parts = parts_of(recipe(data="ck-plus", protocol=protocol), people())
    assert parts.choosing is None and len(parts.training) + len(parts.reported) == 60
    assert not set(parts.training.names) & set(parts.reported.names)


def test_frames_drawn_at_random_put_people_on_both_sides_and_folds_by_subject_do_not() -> None:
    shared = {protocol: parts_of(recipe(data="ck-plus", protocol=protocol), people()).shared_people
              for protocol in ("ten-fold", "ten-fold-by-subject")}
    assert shared["ten-fold"] and shared["ten-fold-by-subject"] == 0


def test_every_face_is_reported_once_over_ten_folds() -> None:
    reported = [name for fold in range(10)
                for name in parts_of(recipe(data="ck-plus", protocol="ten-fold", fold=fold), people()).reported.names]
    assert sorted(reported) == sorted(people().names)


def test_folds_without_people_are_refused() -> None:
    faces = people()
    nameless = LabelledFaces(faces.images, faces.labels, faces.splits, faces.names, faces.label_names)
    with pytest.raises(BadInput, match="tells its people apart, found raf-db; choose ten-fold"):
        parts_of(recipe(data="raf-db", protocol="ten-fold-by-subject"), nameless)


def test_a_data_set_without_splits_of_its_own_takes_another_protocol() -> None:
    with pytest.raises(BadInput, match="with its own splits, found ck-plus"):
        parts_of(recipe(data="ck-plus"), people())


def test_too_few_faces_are_refused() -> None:
    with pytest.raises(BadInput, match="at least 64 faces to train on and one to choose on, found 54"):
        parts_of(recipe(data="ck-plus", protocol="ten-fold", batch_size=64), people())


def test_a_class_that_the_draw_left_out_of_training_is_warned_of() -> None:
    faces = people()
    tested = parts_of(recipe(data="ck-plus", protocol="ten-fold"), faces).reported.names[0]
    rare = LabelledFaces(faces.images, np.where(np.array(faces.names) == tested, 2, faces.labels), faces.splits,
                         faces.names, ("a", "b", "rare"))
    with pytest.warns(UserWarning, match="no face of rare is among those trained on"):
        warn_of_untrained(parts_of(recipe(data="ck-plus", protocol="ten-fold"), rare).training)
    warn_of_untrained(parts_of(recipe(data="ck-plus", protocol="ten-fold", fold=1), rare).training)


# reading

@pytest.fixture
def ck_plus(tmp_path: Path) -> Path:
    """Three classes of 48×48 faces, a dark left half in each."""
    for label in ("anger", "contempt", "happy"):
        (tmp_path / label).mkdir()
        for number in range(4):
            face = np.full((48, 48), 100 + number, np.uint8)
            face[:, :24] //= 2
            cv2.imwrite(str(tmp_path / label / f"S00{number}_001_0000000{number}.png"), face)
    return tmp_path


@pytest.mark.filterwarnings("ignore:ck-plus in")
def test_only_the_labels_asked_for_are_kept_in_the_order_given(ck_plus: Path) -> None:
    faces = load_faces(recipe(data="ck-plus", labels=("happy", "anger")), ck_plus)
    assert faces.label_names == ("happy", "anger") and len(faces) == 8
    assert {name.split("/")[0] for name in faces.names[:4]} == {"anger"} and faces.labels.tolist() == [1] * 4 + [0] * 4


@pytest.mark.filterwarnings("ignore:ck-plus in")
def test_an_unknown_label_is_refused(ck_plus: Path) -> None:
    with pytest.raises(BadInput, match="found smug; correct the recipe"):
        load_faces(recipe(data="ck-plus", labels=("smug", "anger")), ck_plus)


@pytest.mark.filterwarnings("ignore:ck-plus in")
def test_size_and_equalization_are_carried_out_and_the_crop_is_left_for_later(ck_plus: Path) -> None:
    faces = load_faces(recipe(data="ck-plus", size=64, crop=56, equalize=True), ck_plus)
    assert faces.images.shape == (12, 64, 64)
    assert faces.images[0].min() < 10 and faces.images[0].max() == 255


@pytest.mark.filterwarnings("ignore:ck-plus in")
def test_colour_is_asked_of_grey_faces_too(ck_plus: Path) -> None:
    faces = load_faces(recipe(data="ck-plus", colour="rgb"), ck_plus)
    assert faces.images.shape == (12, 48, 48, 3) and (faces.images == faces.images[..., :1]).all()


def test_a_card_takes_the_centre_of_the_size_a_crop_was_drawn_from() -> None:
    how = face_input(recipe(size=48, crop=44))
    assert (how.height, how.width, how.resize) == (44, 44, 48)
    assert face_input(recipe(size=64, colour="rgb")).resize is None


# somebody's own

@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Twelve photographs of faces in two classes that no data set has, of any size."""
    for label in ("Bored", "awake"):
        (tmp_path / label).mkdir()
        for number in range(6):
            cv2.imwrite(str(tmp_path / label / f"{number}.jpg"), np.full((40 + number, 50, 3), 90 + number, np.uint8))
    return tmp_path


def test_own_folders_are_read_under_the_recipes_labels_and_divided(own: Path) -> None:
    how = recipe(data="folders", labels=("awake", "Bored"), protocol="random-90-10", size=24)
    faces = load_faces(how, own)
    assert faces.images.shape == (12, 24, 24) and faces.label_names == ("awake", "Bored")
    assert faces.counts() == {"All": {"awake": 6, "Bored": 6}}
    parts = parts_of(how, faces)
    assert parts.choosing is None and (len(parts.training), len(parts.reported)) == (10, 2)


def test_an_own_class_without_a_face_is_refused(own: Path) -> None:
    how = recipe(data="folders", labels=("awake", "Bored", "asleep"), protocol="ten-fold")
    with pytest.raises(BadInput, match="found none of asleep; add some, or correct the recipe's labels"):
        load_faces(how, own)


def test_an_own_file_that_is_no_image_is_named(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "awake" / "notes.txt").write_text("tired")
    assert len(load_faces(recipe(data="folders", labels=("awake", "Bored"), protocol="ten-fold"), own)) == 12
    assert "left out, for they are no faces: 1 of the files, awake/notes.txt the first" in capsys.readouterr().err
