"""The benchmark of training: every figure is a real one, of the right things."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from train import speed
from train.datasets.labelled_faces import LabelledFaces
from train.recipe import Recipe


def faces(count: int) -> LabelledFaces:
    random = np.random.default_rng(0)
    return LabelledFaces(random.integers(0, 256, (count, 48, 48), np.uint8), np.arange(count) % 7,
                         np.array(["Training"] * count), [str(i) for i in range(count)], tuple("abcdefg"))


def test_a_ratio_is_the_median_of_pairs_without_the_first() -> None:
    ours, theirs = iter([1.0, 8.0, 6.0, 4.0]), iter([100.0, 2.0, 2.0, 2.0])
    assert speed._paired(lambda: next(ours), lambda: next(theirs), 3) == {"ours": 6.0, "theirs": 2.0, "ratio": 3.0}


def test_the_loop_is_measured_against_the_bare_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "BATCH", 8)
    found = speed._loop(Recipe("x", "small-vgg", epochs=5, batch_size=8, precision="float32"), faces(16), 2)
    assert found["ours"] > 0 and found["theirs"] > 0 and 0.1 < found["ratio"] < 10


def test_the_path_compared_with_crops_one_image_at_a_time() -> None:
    pixels, label = speed._PerImage(faces(4))[3]
    assert pixels.shape == (1, speed.CROP, speed.CROP) and pixels.dtype == torch.float32 and label == 3


def test_loading_takes_memory_of_its_own(mien_data: Path) -> None:
    peak = speed._peak_of_loading(mien_data / "fer2013")
    assert 35_887 * 48 * 48 / 2**20 < peak < 1000  # MiB: the array itself, and not a gigabyte
