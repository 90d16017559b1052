"""What differs from the published counts."""

import numpy as np

from train.datasets.labelled_faces import LabelledFaces
from train.datasets.published import differences


def faces(labels: list[int], unreadable: tuple[str, ...] = ()) -> LabelledFaces:
    count = len(labels)
    images, splits = np.zeros((count, 4, 4), np.uint8), np.array(["train"] * count)
    return LabelledFaces(images, np.array(labels), splits, [""] * count, ("sad", "happy"), unreadable)


def test_a_whole_data_set_differs_in_nothing():
    assert differences(faces([0, 1, 1]), {"train": {"sad": 1, "happy": 2}}) == ()
    assert differences(faces([0, 1, 1]), {"train": 3}) == ()


def test_a_missing_image_is_said_with_its_class():
    assert differences(faces([0, 1]), {"train": {"sad": 1, "happy": 2}}) == (
        "train happy: 2 images published, 1 found",
    )


def test_a_missing_split_is_said():
    assert differences(faces([0]), {"train": 1, "test": 5}) == ("test: 5 images published, 0 found",)


def test_a_split_too_many_is_said():
    assert differences(faces([0]), {}) == ("train: no such split published, 1 images found",)


def test_another_order_of_classes_is_said():
    said = differences(faces([0, 1]), {"train": {"happy": 1, "sad": 1}})
    assert said == ("classes: happy, sad published, sad, happy found",)


def test_unreadable_files_are_said():
    assert differences(faces([0], ("a.png", "b.png")), {"train": 1}) == ("2 unreadable, the first a.png",)
