"""What tests of every room share: a tiny model directory, a photograph of a face, the data at hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # importlib mode adds neither

from tiny_model import write_tiny_model  # noqa: E402

from train.datasets.fer2013 import load_fer2013  # noqa: E402
from train.datasets.labelled_faces import LabelledFaces  # noqa: E402


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """A fresh model directory that a test may damage."""
    return write_tiny_model(tmp_path / "tiny-model")


@pytest.fixture(scope="session")
def face_photo() -> np.ndarray:
    """A public-domain photograph of one upright face, (600, 512, 3) BGR uint8; its face is about 185 px wide."""
    cbook = pytest.importorskip("matplotlib.cbook", reason="the photograph comes with matplotlib (mien[dev])")
    image = cv2.imread(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    assert image is not None
    return image


@pytest.fixture(scope="session")
def mien_data() -> Path:
    """The data at hand, see docs; absent on a user's machine."""
    folder = os.environ.get("MIEN_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("MIEN_DATA does not name a folder: this test needs the data sets under shared/data")
    return Path(folder)


@pytest.fixture(scope="session")
def fer2013(mien_data: Path) -> LabelledFaces:
    """All of FER2013, decoded once for every test that asks."""
    return load_fer2013(mien_data / "fer2013")
