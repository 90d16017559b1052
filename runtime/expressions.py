"""Face crops → expressions: an engine's logits become probabilities, and those a label or "unsure".

Knows nothing of where faces come from or of time; one frame at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.agreement import softmax
from runtime.card import Model
from runtime.engines.engine import Engine
from runtime.errors import MienError
from runtime.preprocess import crop_faces

UNSURE = "unsure"


@dataclass(frozen=True)
class Expression:
    """One face's reading: label, or "unsure"; its probability; and all probabilities (classes,) float32, card order."""

    label: str
    probability: float
    probabilities: np.ndarray


def probabilities_of(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return softmax(logits / temperature), (N, classes) float32; a row that is not finite gives a row of NaN.

    Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    finite = np.isfinite(logits).all(axis=1, keepdims=True)
    return np.where(finite, softmax(np.where(finite, logits, 0), temperature), np.nan).astype(np.float32)


def read_logits(
    logits: np.ndarray, labels: Sequence[str], temperature: float = 1.0, threshold: float = 0.0
) -> list[Expression | None]:
    """Read logits (N, classes); below `threshold` a face is "unsure", and one with NaN or infinity is None.

    Raises MienError where the logits are not one row a face and one column a label.
    """
    if logits.ndim != 2 or logits.shape[1] != len(labels):
        raise MienError(f"expected logits of (N, {len(labels)}), found {logits.shape}; "
                        "the engine and its card disagree")
    read: list[Expression | None] = []
    for row in probabilities_of(logits, temperature):
        if np.isnan(row[0]):
            read.append(None)
            continue
        best = int(row.argmax())
        label = labels[best] if row[best] >= threshold else UNSURE
        read.append(Expression(label, float(row[best]), row))
    return read


class ExpressionReader:
    """A model's card and an open engine of it, joined: frame and boxes in, expressions out."""

    def __init__(self, model: Model, engine: Engine, threshold: float = 0.0):
        """Use an engine opened from this model; below `threshold` (0–1) a face is "unsure"."""
        self._card, self._engine, self._threshold = model.card, engine, threshold
        self.labels = model.card.labels

    def crop(self, frame: np.ndarray, boxes: np.ndarray, landmarks: np.ndarray | None = None) -> np.ndarray:
        """Cut faces from a BGR frame as the card says, aligned by landmarks (N, 5, 2) px where both know them.

        boxes (N, 4) x, y, width, height px → (N, C, height, width) uint8.
        """
        return crop_faces(frame, boxes, self._card.input, landmarks)

    def infer(self, crops: np.ndarray) -> list[Expression | None]:
        """Read (N, C, height, width) uint8 crops; None where the engine gave NaN or infinity. Raises MienError."""
        if not len(crops):
            return []
        logits = self._engine.run({self._card.input_name: crops})[self._card.output_name]
        return read_logits(logits, self._card.labels, self._card.temperature, self._threshold)
