"""Figures on labelled faces, against ones counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.errors import BadInput
from train.datasets.labelled_faces import LabelledFaces
from train.expression.evaluate import draw_confusion, evaluate_splits
from train.expression.metrics import score_labels

NAMES = ("a", "b", "c")


def faces_of(labels: list[int], splits: list[str]) -> LabelledFaces:
    """Faces whose top left pixel is what `say_corner` answers, and that differ in their number."""
    images = np.zeros((len(labels), 4, 4), np.uint8)
    images[:, 0, 0], images[:, 3, 1] = labels, np.arange(len(labels))
    return LabelledFaces(images, np.array(labels), np.array(splits), [f"{i}.png" for i in range(len(labels))], NAMES)


def say_corner(faces: np.ndarray) -> np.ndarray:
    """Answer the class written in the top left pixel."""
    return np.eye(3, dtype=np.float32)[faces[:, 0, 0, 0]]


def test_figures_are_those_counted_by_hand() -> None:
    scores = score_labels(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 2]), 3)
    assert scores.confusion.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert scores.accuracy == pytest.approx(4 / 6) and scores.recall == pytest.approx((2 / 3, 1 / 2, 1))
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)  # 2·hits / (true + said)


def test_a_class_without_images_has_no_recall_and_no_weight() -> None:
    scores = score_labels(np.array([0, 1]), np.array([0, 1]), 3)
    assert np.isnan(scores.recall[2]) and scores.macro_f1 == 1


def test_a_class_that_is_only_said_costs_its_f1() -> None:
    assert score_labels(np.array([0, 0]), np.array([0, 2]), 3).macro_f1 == pytest.approx((2 / 3 + 0) / 2)


def test_a_perfect_network_is_perfect_on_every_split() -> None:
    faces = faces_of([0, 1, 2, 0, 1, 2], ["Training"] * 2 + ["PublicTest"] * 2 + ["PrivateTest"] * 2)
    report = evaluate_splits(say_corner, faces, ("PublicTest", "PrivateTest"))
    assert [report[s]["accuracy"] for s in ("PublicTest", "PrivateTest")] == [1, 1]
    assert report["PublicTest"]["images"] == 2


def test_the_mirrored_view_is_averaged_in() -> None:
    faces = faces_of([1, 2], ["PublicTest"] * 2)
    # the mirror shows the other corner, which is 0 on every face: both views together say 0 as loudly as the label

    def louder_mirror(batch: np.ndarray) -> np.ndarray:
        return say_corner(batch) * np.where(batch[:, 0, 0, 3] > 0, 3, 1)[:, None].astype(np.float32)

    entry = evaluate_splits(louder_mirror, faces, ("PublicTest",))["PublicTest"]
    assert (entry["accuracy"], entry["accuracy_with_mirrored_view"]) == (1, 0)


def test_copies_of_training_images_are_left_out_beside() -> None:
    faces = faces_of([0, 1, 0, 1], ["Training", "PublicTest", "PublicTest", "PublicTest"])
    faces.images[1] = faces.images[0]  # a copy under another label: the network says 0
    entry = evaluate_splits(say_corner, faces, ("PublicTest",))["PublicTest"]
    assert entry["accuracy"] == pytest.approx(2 / 3)
    assert entry["without_training_copies"] == {"images": 2, "accuracy": 1}


def test_an_absent_split_is_refused() -> None:
    with pytest.raises(BadInput, match="the split PrivateTest, found none"):
        evaluate_splits(say_corner, faces_of([0], ["PublicTest"]), ("PrivateTest",))


def test_the_report_is_json_even_where_a_class_is_absent() -> None:
    report = evaluate_splits(say_corner, faces_of([0, 1], ["PublicTest"] * 2), ("PublicTest",))
    text = json.dumps(report, allow_nan=False)
    assert json.loads(text)["PublicTest"]["recall"] == {"a": 1, "b": 1, "c": None}


def test_the_confusion_is_drawn_as_a_png_and_nothing_else(tmp_path: Path) -> None:
    draw_confusion(np.array([[5, 1, 0], [0, 4, 2], [0, 0, 0]]), NAMES, "title", tmp_path / "new" / "confusion.png")
    assert cv2.imread(str(tmp_path / "new" / "confusion.png")).shape[2] == 3
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["confusion.png"]
