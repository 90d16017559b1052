"""Labels of one data set in another's words."""

import numpy as np
import pytest

from runtime.errors import BadInput
from train.datasets import DATASETS, LabelledFaces
from train.datasets.label_maps import EMOTIONS, label_map, relabel, without_labels


def faces(label_names: tuple[str, ...]) -> LabelledFaces:
    """One face of each label, its pixels the label's number."""
    count = len(label_names)
    images = np.arange(count, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    subjects = np.array([f"S{i}" for i in range(count)])
    return LabelledFaces(
        images, np.arange(count), np.array(["All"] * count), [str(i) for i in range(count)], label_names,
        subjects=subjects,
    )


def test_every_data_set_has_every_label_in_its_order():
    assert {name: tuple(labels) for name, labels in EMOTIONS.items()} == {n: d.labels for n, d in DATASETS.items()}


@pytest.mark.parametrize("name", EMOTIONS)
def test_a_map_onto_itself_changes_nothing(name):
    assert label_map(name, name) == {label: label for label in EMOTIONS[name]}


def test_raf_db_starts_sfew_label_by_label():
    assert label_map("raf-db", "sfew") == {
        "surprise": "surprise", "fear": "fear", "disgust": "disgust", "happiness": "happy", "sadness": "sad",
        "anger": "angry", "neutral": "neutral",
    }


def test_contempt_has_no_place_in_fer2013():
    assert label_map("ck-plus", "fer2013")["contempt"] is None


def test_relabelled_faces_keep_their_pixels_and_people():
    target = DATASETS["fer2013"].labels
    said = relabel(faces(DATASETS["ck-plus"].labels), label_map("ck-plus", "fer2013"), target)
    assert said.label_names == target
    by_label = {target[label]: int(image[0, 0]) for label, image in zip(said.labels, said.images, strict=True)}
    assert by_label == {"angry": 0, "disgust": 2, "fear": 3, "happy": 4, "sad": 5, "surprise": 6}
    assert said.subjects.tolist() == ["S0", "S2", "S3", "S4", "S5", "S6"]


def test_dropping_contempt_leaves_paper_es_six_classes():
    said = without_labels(faces(DATASETS["ck-plus"].labels), "contempt")
    assert said.label_names == ("anger", "disgust", "fear", "happy", "sadness", "surprise")
    assert said.labels.tolist() == list(range(6)) and said.images[:, 0, 0].tolist() == [0, 2, 3, 4, 5, 6]


def test_a_label_without_a_map_is_refused():
    with pytest.raises(BadInput, match="found none for b"):
        relabel(faces(("a", "b")), {"a": "x"}, ("x",))


def test_a_map_to_a_label_that_is_not_there_is_refused():
    with pytest.raises(BadInput, match="found y"):
        relabel(faces(("a",)), {"a": "y"}, ("x",))


def test_an_unknown_data_set_is_refused():
    with pytest.raises(BadInput, match="expected one of fer2013"):
        label_map("affectnet", "fer2013")


def test_dropping_a_label_that_is_not_there_is_refused():
    with pytest.raises(BadInput, match="found neutral"):
        without_labels(faces(DATASETS["ck-plus"].labels), "neutral")
