"""What each choice of faces costs: every pick measured, means over seeds, a chart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_graphs import random_faces

from export.int8.calibration_faces import FacePool
from export.int8.compare_choices import compare_choices, comparison_lines, means_of, save_chart
from runtime.card import load_model


@pytest.fixture(scope="module")
def compared(tiny_export, tmp_path_factory: pytest.TempPathFactory) -> dict:
    model = load_model(shutil.copytree(tiny_export.directory, tmp_path_factory.mktemp("compare") / "model"))
    pool = FacePool(random_faces(40), [str(i) for i in range(40)], {"name": "noise"}, np.arange(40) % 2, ("a", "b"))
    faces = random_faces(64, seed=9)
    return compare_choices(model, pool, faces, np.zeros(64, int), ("random", "k-center", "herding"), "max", 0,
                           sizes=(4, 16, 99), seeds=(0, 1))


def test_every_choice_size_and_seed_is_a_row(compared: dict) -> None:
    rows = [(row["choice"], row["images"], row["seed"]) for row in compared["rows"]]
    seeded = [(c, n, s) for c in ("random", "k-center") for s in (0, 1) for n in (4, 16)]
    assert rows == [*seeded, ("herding", 4, 0), ("herding", 16, 0)]  # 99 are not there, and herding knows no seed


def test_int8_is_measured_against_fp32(compared: dict) -> None:
    for row in compared["rows"]:
        assert 0.5 < row["agreement"] <= 1 and row["mean_kl"] > 0
    assert len({row["mean_kl"] for row in compared["rows"]}) > 5  # the picks matter


def test_means_and_range_are_those_of_the_seeds() -> None:
    rows = [{"choice": "random", "images": 4, "seed": s, "accuracy": a, "agreement": a, "mean_kl": a}
            for s, a in enumerate((0.5, 0.75))]
    assert means_of(rows) == [{"choice": "random", "images": 4, "seeds": 2} | {
        name: {"mean": 0.625, "low": 0.5, "high": 0.75} for name in ("accuracy", "agreement", "mean_kl")}]


def test_the_record_is_json_and_a_line_a_mean(compared: dict) -> None:
    assert json.loads(json.dumps(compared, allow_nan=False)) == compared
    assert len(comparison_lines(compared)) == len(compared["means"]) == 6


def test_the_chart_is_a_picture(compared: dict, tmp_path: Path) -> None:
    save_chart(compared, tmp_path / "chart.png")
    picture = cv2.imread(str(tmp_path / "chart.png"))
    assert picture.shape[1] > 1000 and picture.std() > 5
