"""Paired comparison of two networks' answers to the same images, in plain numpy. Knows no engine and no file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return probabilities of (..., classes) logits, float64, stable for large values."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def kl_divergence(reference: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return KL(reference ‖ other) in nats for each row of (N, classes) logits, (N,) float64, never below 0."""
    p = softmax(reference)
    log_p, log_q = np.log(np.maximum(p, 1e-300)), np.log(np.maximum(softmax(other), 1e-300))
    return np.asarray(np.maximum((p * (log_p - log_q)).sum(axis=-1), 0.0))


@dataclass(frozen=True)
class Comparison:
    """An engine against its reference on the same images; shares of 0–1, recall changes in points of 100."""

    images: int
    accuracy_reference: float
    accuracy_engine: float
    agreement: float
    mean_kl: float
    worst_kl: float
    worst_delta: float
    recall_change: dict[str, float]
    non_finite: int

    @property
    def accuracy_drop(self) -> float:
        """Reference minus engine, in points of 100."""
        return 100 * (self.accuracy_reference - self.accuracy_engine)


def compare(reference: np.ndarray, engine: np.ndarray, labels: np.ndarray, label_names: tuple[str, ...]) -> Comparison:
    """Compare (N, classes) logits of both on N labelled images; rows with NaN or infinity count as wrong."""
    finite = np.isfinite(engine).all(axis=1)
    safe = np.where(finite[:, None], engine, reference)
    said_reference, said_engine = reference.argmax(1), np.where(finite, safe.argmax(1), -1)
    right_reference, right_engine = said_reference == labels, said_engine == labels
    change = {}
    for index, name in enumerate(label_names):
        of_class = labels == index
        if of_class.any():
            change[name] = 100 * float(right_engine[of_class].mean() - right_reference[of_class].mean())
    kl = kl_divergence(reference, safe)
    return Comparison(
        images=len(labels),
        accuracy_reference=float(right_reference.mean()),
        accuracy_engine=float(right_engine.mean()),
        agreement=float((said_reference == said_engine).mean()),
        mean_kl=float(kl.mean()),
        worst_kl=float(kl.max()),
        worst_delta=float(np.abs(reference - safe).max()),
        recall_change=change,
        non_finite=int((~finite).sum()),
    )
