"""A small data folder like the detector's real one, made of its first pictures, and what a real teacher finds there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from train.faces.labels import FaceLabels
from train.faces.teacher import Teacher, label

HEADS, SCENES = 60, 40


@pytest.fixture(scope="session")
def teacher(mien_data: Path) -> Teacher:
    """YuNet, as it labels."""
    return Teacher(mien_data / "models" / "yunet_n_dynamic.onnx", threads=1)


@pytest.fixture(scope="session")
def small_data(mien_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first pictures of both folders (read-only)."""
    folder = tmp_path_factory.mktemp("faces")
    for name, count in (("heads", HEADS), ("scenes", SCENES)):
        (folder / name).mkdir()
        with os.scandir(mien_data / name) as entries:
            for picture in sorted(e.name for e in entries)[:count]:
                shutil.copy(mien_data / name / picture, folder / name)
    return folder


@pytest.fixture(scope="session")
def labels(small_data: Path, teacher: Teacher) -> FaceLabels:
    """What the teacher finds in them."""
    return label(small_data, teacher)
