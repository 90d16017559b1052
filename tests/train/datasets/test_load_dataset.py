"""The register of data sets."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.errors import BadInput
from train.datasets import DATASETS, load_dataset

# What the authors published: FER2013 (Goodfellow 2013), CK+ ×3 frames, RAF-DB, SFEW (EmotiW 2015), RaFD
TOTALS = {"fer2013": 35_887, "ck-plus": 981, "raf-db": 15_339, "sfew": 958 + 436 + 372, "rafd": 8_040}


def write_fer2013(root: Path) -> Path:
    (root / "train/happy").mkdir(parents=True)
    cv2.imwrite(str(root / "train/happy/Training_1.png"), np.full((48, 48), 7, np.uint8))
    return root


@pytest.mark.parametrize("name", DATASETS)
def test_published_counts_add_up(name):
    published = DATASETS[name].published.values()
    assert sum(count if isinstance(count, int) else sum(count.values()) for count in published) == TOTALS[name]


def test_a_typing_error_gets_a_suggestion():
    with pytest.raises(BadInput, match="did you mean ck-plus"):
        load_dataset("ck+plus", Path("."))


def test_a_part_of_a_data_set_is_loaded_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="Training: 28709 images published, 1 found"):
        faces = load_dataset("fer2013", write_fer2013(tmp_path))
    assert len(faces) == 1


def test_prepare_reaches_every_loader(tmp_path):
    with pytest.warns(UserWarning):
        faces = load_dataset("fer2013", write_fer2013(tmp_path), prepare=lambda image: cv2.resize(image, (64, 64)))
    assert faces.images.shape == (1, 64, 64)


def test_data_sets_load_no_torch():
    modules = "train.datasets, train.datasets.protocols, train.datasets.label_maps"
    program = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], check=True)
