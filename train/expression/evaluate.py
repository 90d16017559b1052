"""A network's figures on labelled faces: accuracy, recall, macro-F1, confusion; with the mirrored view beside.

Takes any function from faces to logits, so a checkpoint and an engine are judged by the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np

from runtime.durable import replacing
from runtime.errors import BadInput
from train.datasets.labelled_faces import LabelledFaces, without_copies_of
from train.expression.metrics import Scores, score_labels

Logits = Callable[[np.ndarray], np.ndarray]  # (N, 1, H, W) uint8 → (N, classes) float32


def evaluate_splits(logits: Logits, faces: LabelledFaces, splits: tuple[str, ...]) -> dict[str, Any]:
    """Return each split's figures: single view, mirrored view averaged in, and without copies of training images."""
    training = faces.split("Training")
    report: dict[str, Any] = {}
    for split in splits:
        chosen = faces.split(split)
        if not len(chosen):
            raise BadInput(f"expected images of the split {split}, found none; mien data check shows what is there")
        answers = logits(chosen.images[:, None])
        mirrored = answers + logits(np.ascontiguousarray(chosen.images[:, None, :, ::-1]))
        scores = score_labels(chosen.labels, answers.argmax(1), len(chosen.label_names))
        entry = _entry(scores, chosen.label_names)
        entry["accuracy_with_mirrored_view"] = float((mirrored.argmax(1) == chosen.labels).mean())
        if len(training):
            own = np.isin(np.arange(len(chosen)), _index_of(chosen, without_copies_of(chosen, training)))
            entry["without_training_copies"] = {
                "images": int(own.sum()), "accuracy": float((answers.argmax(1) == chosen.labels)[own].mean())}
        report[split] = entry
    return report


def _index_of(faces: LabelledFaces, kept: LabelledFaces) -> np.ndarray:
    names = set(kept.names)
    return np.array([i for i, name in enumerate(faces.names) if name in names])


def _entry(scores: Scores, label_names: tuple[str, ...]) -> dict[str, Any]:
    return {"images": scores.images, "accuracy": scores.accuracy, "macro_f1": scores.macro_f1,
            "recall": {name: None if np.isnan(r) else r for name, r in zip(label_names, scores.recall)},
            "confusion": scores.confusion.tolist()}


def draw_confusion(confusion: np.ndarray, label_names: tuple[str, ...], title: str, path: Path) -> None:
    """Write a PNG of a confusion matrix (classes, classes): rows are true labels, cells hold percent of the row."""
    share = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure = matplotlib.figure.Figure(figsize=(6.4, 5.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for row in range(len(label_names)):
        for column in range(len(label_names)):
            axes.text(column, row, f"{share[row, column]:.0f}", ha="center", va="center",
                      color="white" if share[row, column] > 55 else "black")
    axes.set_xticks(range(len(label_names)), label_names, rotation=35, ha="right")
    axes.set_yticks(range(len(label_names)), label_names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    with replacing(path) as temporary:
        figure.savefig(temporary)
