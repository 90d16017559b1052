"""Cross-validation: ten runs, each measured on its own fold; interrupted, it goes on where it stood."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runtime.errors import BadInput
from train.augment import Augmentation
from train.datasets.labelled_faces import LabelledFaces
from train.expression import cross_validate as room
from train.expression.cross_validate import cross_validate
from train.recipe import Recipe

RECIPE = Recipe(name="quick", network="small-vgg", data="ck-plus", protocol="ten-fold", epochs=1, batch_size=16,
                size=24, crop=16, test_views="ten-crop", precision="float32", ema=0.0, learning_rate=3e-3, warm_up=0.1,
                augmentation=Augmentation(brightness=0, contrast=0))


def noise() -> LabelledFaces:
    """60 faces of 20 people whose brightness is their class."""
    random, labels = np.random.default_rng(0), np.arange(60) % 2
    images = np.clip(random.normal(60 + 130 * labels[:, None, None], 20, (60, 24, 24)), 0, 255).astype(np.uint8)
    return LabelledFaces(images, labels, np.array(["All"] * 60), [str(i) for i in range(60)], ("dark", "bright"),
                         subjects=np.array([f"S{i // 3}" for i in range(60)]))


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """All ten folds (read-only)."""
    out, threads = tmp_path_factory.mktemp("folds"), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return out, cross_validate(RECIPE, noise(), out, "mien cross-validate …")
    finally:
        torch.set_num_threads(threads)


def test_ten_folds_report_every_face_once(folds: tuple[Path, dict[str, Any]]) -> None:
    assert [fold["fold"] for fold in folds[1]["folds"]] == list(range(10))
    assert sum(fold["images"] for fold in folds[1]["folds"]) == 60 and folds[1]["folds_finished"] == 10


def test_mean_spread_and_best_are_those_of_the_folds(folds: tuple[Path, dict[str, Any]]) -> None:
    for key in ("accuracy", "accuracy_of_views"):
        values = [fold[key] for fold in folds[1]["folds"]]
        assert folds[1][key] == pytest.approx({"mean": np.mean(values), "standard_deviation": np.std(values, ddof=1),
                                               "best": max(values), "worst": min(values)})
        assert len(set(values)) > 1 or values[0] > 0.5


def test_the_record_is_the_file_and_says_who_stands_on_both_sides(folds: tuple[Path, dict[str, Any]]) -> None:
    assert json.loads((folds[0] / "folds.json").read_text()) == json.loads(json.dumps(folds[1]))
    assert all(fold["people_on_both_sides"] > 0 for fold in folds[1]["folds"])
    assert folds[1]["recipe"]["name"] == "quick" and folds[1]["data"]["sha256"] == noise().sha256()


def test_what_is_finished_is_not_trained_again(folds: tuple[Path, dict[str, Any]],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    resumed = []
    train = room.train_expression

    def watched(*args: Any, resume: bool, **kwargs: Any) -> Any:
        resumed.append(resume)
        return train(*args, resume=resume, **kwargs)

    monkeypatch.setattr(room, "train_expression", watched)
    before = {p: p.stat().st_mtime_ns for p in folds[0].rglob("weights.safetensors")}
    again = cross_validate(RECIPE, noise(), folds[0], "mien cross-validate …")
    assert resumed == [True] * 10 and again["accuracy"] == folds[1]["accuracy"]
    assert {p: p.stat().st_mtime_ns for p in folds[0].rglob("weights.safetensors")} == before


def test_a_protocol_without_folds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="with protocol: ten-fold"):
        cross_validate(dataclasses.replace(RECIPE, protocol="random-90-10"), noise(), tmp_path)
