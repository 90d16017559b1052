"""Pictures of one part as scenes are made of them; the data folder and its labels are `face_data.py`'s."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from face_data import labels as labels
from face_data import small_data as small_data
from face_data import teacher as teacher

from train.faces.labels import FaceLabels
from train.faces.pictures import Head, Photograph, Pictures, load_pictures


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
