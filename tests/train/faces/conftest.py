"""A small data folder like the real one, made of its first pictures, and what a real teacher finds in them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from train.faces.labels import FaceLabels
from train.faces.pictures import Head, Photograph, Pictures, load_pictures
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


@pytest.fixture(scope="session")
def pictures(small_data: Path, labels: FaceLabels) -> Pictures:
    """The training part."""
    return load_pictures(small_data, labels, "training")


@pytest.fixture(scope="session")
def drawn_pictures() -> Pictures:
    """One head whose landmarks are white dots on black, and one grey photograph without any face."""
    picture = np.zeros((256, 256), np.uint8)
    box = np.array([26, 7, 206, 248], np.float32)
    landmarks = np.array([[90, 100], [170, 100], [130, 150], [100, 200], [160, 200]], np.float32)
    for x, y in landmarks.astype(int).tolist():
        cv2.circle(picture, (x, y), 9, 255, -1)
    levels = [picture]
    for _ in range(4):
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    nothing = np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, np.float32)
    return Pictures((Head(tuple(levels), box, landmarks, 0.9),),
                    (Photograph(np.full((240, 320), 60, np.uint8), *nothing),))
