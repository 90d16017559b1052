"""A set of labelled faces: choosing, hashing, counting, finding copies; and its summary."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from train.datasets.labelled_faces import LabelledFaces, find_duplicates, without_copies_of
from train.datasets.summary import as_text, summarize

SPLITS = ["Training", "Training", "Training", "PublicTest", "PublicTest", "PrivateTest"]


@pytest.fixture
def faces() -> LabelledFaces:
    """Six different faces, (6, 4, 4), of two people."""
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4), dtype=np.uint8)
    return LabelledFaces(images, np.array([0, 1, 0, 1, 0, 1]), np.array(SPLITS), [f"{i}.png" for i in range(6)],
                         ("sad", "happy"), unreadable=("bad.png",), subjects=np.array(list("abcabc")),
                         poses=np.array([0, 45, 90, 0, 45, 90]))


def changed(faces: LabelledFaces, **arrays: np.ndarray) -> LabelledFaces:
    return dataclasses.replace(faces, **arrays)


def with_copy(faces: LabelledFaces, source: int, target: int) -> LabelledFaces:
    images = faces.images.copy()
    images[target] = images[source]
    return changed(faces, images=images)


@pytest.mark.parametrize("chosen", [np.array([False, True, False, False, True, False]), np.array([1, 4])])
def test_a_mask_and_an_index_choose_every_field_alike(faces: LabelledFaces, chosen: np.ndarray) -> None:
    kept = faces.where(chosen)
    assert (kept.names, kept.labels.tolist(), kept.splits.tolist()) == (["1.png", "4.png"], [1, 0],
                                                                       ["Training", "PublicTest"])
    assert (kept.subjects.tolist(), kept.poses.tolist()) == (["b", "b"], [45, 45])
    assert np.array_equal(kept.images, faces.images[[1, 4]])


def test_several_splits_keep_their_order(faces: LabelledFaces) -> None:
    assert faces.split("PrivateTest", "Training").names == ["0.png", "1.png", "2.png", "5.png"]


def test_an_absent_split_is_empty(faces: LabelledFaces) -> None:
    assert len(faces.split("Test")) == 0 and faces.split("Test").images.shape == (0, 4, 4)


@pytest.mark.parametrize("field", ["images", "labels", "splits"])
def test_the_hash_follows_pixels_labels_and_splits(faces: LabelledFaces, field: str) -> None:
    array = getattr(faces, field).copy()
    array[0] = array[-1]
    assert changed(faces, **{field: array}).sha256() != faces.sha256()


def test_the_hash_follows_the_labels_meaning(faces: LabelledFaces) -> None:
    assert dataclasses.replace(faces, label_names=("happy", "sad")).sha256() != faces.sha256()


def test_the_hash_does_not_follow_memory_layout_or_names(faces: LabelledFaces) -> None:
    other = changed(faces, images=np.asfortranarray(faces.images), labels=faces.labels.astype(np.int32))
    assert dataclasses.replace(other, names=list("uvwxyz")).sha256() == faces.sha256()


def test_counts_name_every_label_of_every_split(faces: LabelledFaces) -> None:
    assert faces.counts() == {"Training": {"sad": 2, "happy": 1}, "PublicTest": {"sad": 1, "happy": 1},
                              "PrivateTest": {"sad": 0, "happy": 1}}


def test_different_faces_have_no_copies(faces: LabelledFaces) -> None:
    copies = find_duplicates(faces)
    assert set(copies.extra_inside.values()) == {0} and set(copies.across.values()) == {(0, 0)} and copies.blank == 0


def test_a_copy_inside_a_split_is_counted_once(faces: LabelledFaces) -> None:
    assert find_duplicates(with_copy(faces, 0, 2)).extra_inside["Training"] == 1


@pytest.mark.parametrize(("target", "other_label"), [(4, 0), (3, 1)])
def test_a_copy_across_splits_tells_whether_the_label_differs(
        faces: LabelledFaces, target: int, other_label: int) -> None:
    assert find_duplicates(with_copy(faces, 0, target)).across["Training", "PublicTest"] == (1, other_label)


def test_a_face_of_one_grey_value_is_blank(faces: LabelledFaces) -> None:
    images = faces.images.copy()
    images[3] = 77
    assert find_duplicates(changed(faces, images=images)).blank == 1


def test_copies_of_another_set_are_dropped(faces: LabelledFaces) -> None:
    faces = with_copy(faces, 0, 4)
    assert without_copies_of(faces.split("PublicTest"), faces.split("Training")).names == ["3.png"]


def test_the_summary_tells_what_differs_from_the_published_set(faces: LabelledFaces) -> None:
    summary = summarize(faces, {"Training": 3, "PublicTest": 3, "Extra": 1})
    assert summary["differs_from_published"] == [
        "PublicTest: 3 images published, 2 found", "Extra: 1 images published, 0 found",
        "PrivateTest: no such split published, 1 images found", "1 unreadable, the first bad.png"]


def test_the_summary_is_json_and_names_what_is_unreadable(faces: LabelledFaces) -> None:
    summary = json.loads(json.dumps(summarize(with_copy(faces, 0, 3), {}), allow_nan=False))
    assert summary["unreadable"] == ["bad.png"] and summary["images"] == 6
    assert summary["copies_across"]["Training → PublicTest"] == {"images": 1, "with_another_label": 1}


def test_mean_and_deviation_are_the_training_faces(faces: LabelledFaces) -> None:
    pixels, summary = faces.images[:3] / 255, summarize(faces, {})
    assert (summary["mean"], summary["std"]) == (round(pixels.mean(), 4), round(pixels.std(), 4))


def test_the_text_says_what_the_summary_holds(faces: LabelledFaces) -> None:
    text = as_text(summarize(with_copy(faces, 0, 3), {"Training": 4}))
    for words in ("Training", "happy", "1 exact copies across Training → PublicTest, 1 under another label",
                  "1 unreadable or damaged", "bad.png",
                  "differs from the published set: Training: 4 images published, 3 found"):
        assert words in text
