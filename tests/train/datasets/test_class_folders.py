"""One folder a class."""

import pytest

from runtime.errors import BadInput
from train.datasets.class_folders import class_folders


def test_folders_come_in_label_order_whatever_their_case(tmp_path):
    for name in ("Sad", "ANGRY"):
        (tmp_path / name).mkdir()
    found = class_folders(tmp_path, ("angry", "happy", "sad"))
    assert [(label, folder.name) for label, folder in found] == [(0, "ANGRY"), (2, "Sad")]


def test_an_unknown_folder_is_refused_with_the_nearest_class(tmp_path):
    (tmp_path / "supprise").mkdir()
    with pytest.raises(BadInput, match="rename it to surprise"):
        class_folders(tmp_path, ("surprise", "sad"))


def test_two_folders_of_one_class_are_refused(tmp_path):
    for name in ("Sad", "sad"):
        (tmp_path / name).mkdir()
    with pytest.raises(BadInput, match="merge them"):
        class_folders(tmp_path, ("sad",))


def test_a_label_in_capitals_finds_its_folder(tmp_path):
    (tmp_path / "Bored").mkdir()
    assert class_folders(tmp_path, ("Bored", "AWAKE")) == [(0, tmp_path / "Bored")]
