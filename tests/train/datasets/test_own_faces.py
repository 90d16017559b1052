"""Somebody's own folders, before they have named their classes: `mien data check folders PATH`."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

import mien
from runtime.errors import BAD_INPUT, DONE
from train.datasets.own_faces import classes_in, load_own_faces, shrunk
from train.datasets.summary import summarize


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name, count in (("calm", 3), ("cross", 2)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(count):
            image = random.integers(0, 256, (60 + number, 80, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "own" / name / f"{number}.png"), image)
    return tmp_path / "own"


def test_every_class_copy_and_damaged_file_is_counted(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "cross" / "copy.png").write_bytes((folders / "calm" / "0.png").read_bytes())
    (folders / "calm" / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    cv2.imwrite(str(folders / "calm" / "grey.png"), np.full((50, 50, 3), 90, np.uint8))
    assert mien.main(["data", "check", "folders", str(folders)]) == DONE
    said = capsys.readouterr().err
    split, row = (line.split() for line in said.splitlines()[:2])
    assert split == ["split", "calm", "cross", "all"] and row == ["All", "4", "3", "7"]
    assert "1 extra exact copies inside All" in said and "1 blank images" in said
    assert "1 pictures under several labels inside All" in said  # which training would learn both ways
    assert "1 unreadable or damaged" in said and "calm/broken.jpg" in said and "published" not in said


def test_long_names_of_classes_stand_apart(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "cross").rename(folders / "concentrating")
    assert mien.main(["data", "check", "folders", str(folders)]) == DONE
    said = capsys.readouterr().err
    assert [line.split() for line in said.splitlines()[:2]] == [
        ["split", "calm", "concentrating", "all"], ["All", "3", "2", "5"]]
    assert "several labels" not in said and "0 extra exact copies" in said


def test_a_folder_inside_a_class_is_named(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "calm" / "holiday").mkdir()
    (folders / "calm" / ".thumbnails").mkdir()
    assert mien.main(["data", "check", "folders", str(folders)]) == DONE
    said = capsys.readouterr().err
    assert "1 unreadable or damaged" in said and "calm/holiday/" in said and "of images as 48×48 grey" in said


def test_no_folder_and_no_class_are_refused(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (folders / "nowhere", folders / "calm"):
        assert mien.main(["data", "check", "folders", str(path)]) == BAD_INPUT
        assert f"one folder a class, found {path}" in capsys.readouterr().err


def test_a_name_that_is_no_unicode_is_a_class_like_another(folders: Path) -> None:
    (folders / "cross").rename(folders / os.fsdecode(b"m\xfcde"))  # Latin-1, out of an old archive
    assert summarize(load_own_faces(folders, classes_in(folders), shrunk), None)["images"] == 5
