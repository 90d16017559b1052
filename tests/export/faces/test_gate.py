"""The detector's gate: what is lost is named with its interval; nothing lost passes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from export.faces.gate import FaceBudget, check_detections
from runtime.faces.detector import Faces
from train.faces.metrics import Truth

PICTURES = 60


def scenes(seed: int = 0) -> tuple[list[Faces], list[Truth]]:
    """Three faces a picture, all found, none false."""
    random = np.random.default_rng(seed)
    found, truths = [], []
    for _ in range(PICTURES):
        boxes = np.concatenate([np.arange(3)[:, None] * 100 + random.uniform(0, 10, (3, 2)), np.full((3, 2), 40.0)], 1)
        landmarks = boxes[:, None, :2] + random.uniform(5, 35, (3, 5, 2))
        found.append(Faces(boxes.astype(np.float32), landmarks, random.uniform(0.6, 0.99, 3)))
        truths.append(Truth(boxes, landmarks, np.zeros(3, bool)))
    return found, truths


def test_the_same_detections_pass_with_nothing_lost() -> None:
    found, truths = scenes()
    verdict = check_detections(found, found, truths, FaceBudget(), 0.5, draws=50)
    assert verdict.passed and verdict.same_faces == 1
    assert verdict.reference["ap50"] == 1
    assert {loss["points"] for loss in verdict.losses.values()} == {0.0}


def test_faces_that_are_no_longer_found_break_precision_and_recall() -> None:
    found, truths = scenes()
    fewer = [f if i % 2 else Faces(f.boxes[1:], f.landmarks[1:], f.scores[1:])  # type: ignore[index]
             for i, f in enumerate(found)]
    verdict = check_detections(found, fewer, truths, FaceBudget(), 0.5, draws=50)
    assert not verdict.passed and any("recall_at_1_false" in text for text in verdict.broken)
    assert verdict.losses["recall_at_1_false"]["points"] == pytest.approx(100 / 6)
    assert verdict.same_faces == pytest.approx(5 / 6)


def test_shifted_landmarks_break_their_own_budget_alone() -> None:
    found, truths = scenes()
    moved = [dataclasses.replace(f, landmarks=f.landmarks + 4) for f in found]  # type: ignore[operator]
    verdict = check_detections(found, moved, truths, FaceBudget(), 0.5, draws=50)
    assert [text.split()[0] for text in verdict.broken] == ["landmark_error"]
    assert verdict.losses["landmark_error"]["points"] == pytest.approx(100 * np.hypot(4, 4) / 40, rel=1e-3)


def test_one_picture_of_sixty_is_too_few_to_say() -> None:
    found, truths = scenes()
    lost = [Faces.none() if i == 7 else f for i, f in enumerate(found)]
    verdict = check_detections(found, lost, truths, FaceBudget(recall_at_1_false=2.0, ap50=2.0, ap75=2.0), 0.5)
    assert not verdict.broken and not verdict.passed
    assert len(verdict.inconclusive) == 3 and "(0.00 to" in verdict.inconclusive[0]
