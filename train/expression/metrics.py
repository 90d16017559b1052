"""Accuracy, per-class recall, macro-F1 and the confusion matrix, from labels alone. Knows no network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scores:
    """Figures of one set; `confusion` is (classes, classes) int: rows are true labels, columns what was said."""

    images: int
    accuracy: float
    macro_f1: float
    recall: tuple[float, ...]
    confusion: np.ndarray


def score_labels(true: np.ndarray, said: np.ndarray, classes: int) -> Scores:
    """Compare (N,) true labels with (N,) predicted ones. Recall is NaN without images, F1 without either."""
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (true, said), 1)
    hits, in_truth, in_answer = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = hits / in_truth
        f1 = 2 * hits / (in_truth + in_answer)
    accuracy = float(hits.sum() / max(1, len(true)))
    return Scores(len(true), accuracy, float(np.nanmean(f1)) if len(true) else 0.0, tuple(recall.tolist()), confusion)
