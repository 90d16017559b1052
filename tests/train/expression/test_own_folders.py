"""Somebody's own faces, one folder a class, down the road as a person goes it: trained, measured, set side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import mien

RECIPE = """network: small-vgg
data: folders
labels: [Bored, awake]
protocol: random-90-10
size: 16
epochs: 1
batch_size: 8
"""


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Forty noisy pictures in colour: one class is dark."""
    random = np.random.default_rng(0)
    for label, level in (("bored", 60), ("awake", 190)):
        (tmp_path / "faces" / label).mkdir(parents=True)
        for number in range(20):
            picture = np.clip(random.normal(level, 20, (30, 24 + number, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "faces" / label / f"{number}.png"), picture)
    return tmp_path / "faces"


@pytest.mark.filterwarnings("ignore:ck-plus in")
def test_own_folders_are_trained_and_measured(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                              ) -> None:
    recipe, run = tmp_path / "own.yaml", tmp_path / "run"
    recipe.write_text(RECIPE)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # beside other work on this machine, two would wait for each other
    try:
        assert mien.main(["train", "--recipe", str(recipe), "--data", str(faces), "--out", str(run)]) == 0
        assert mien.main(["results", str(run), "--data", str(faces)]) == 0
    finally:
        torch.set_num_threads(threads)
    said = capsys.readouterr().err
    assert "### folders" in said and "own, random-90-10" in said
    # a published set's words are never taken for one's own
    (tmp_path / "ck" / "anger").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "ck" / "anger" / "S001_001_00000001.png"), np.zeros((48, 48), np.uint8))
    assert mien.main(["evaluate", str(run / "best"), "--data", str(tmp_path / "ck"), "--dataset", "ck-plus"]) == 2
    assert "expected labels of folders, found a network of Bored, awake" in capsys.readouterr().err
