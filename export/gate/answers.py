"""What two networks said of the same labelled images, side by side, and every figure that follows.

Knows no budget and no verdict. An answer that is not finite is wrong, never the reference's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from runtime.agreement import Reliability, compare, kl_divergence, reliability, softmax
from runtime.paired_counts import holm, mcnemar_exact

NO_ANSWER = -1


@dataclass(frozen=True)
class ClassChange:
    """One class: recalls are shares, `p` is McNemar's exact one, Holm-adjusted over the classes."""

    name: str
    images: int
    recall_reference: float
    recall_engine: float
    lost: int
    won: int
    p: float


@dataclass(frozen=True, eq=False)
class Answers:
    """Logits (N, classes) of the reference and of the engine on N images with labels (N,); classes' names in order."""

    reference: np.ndarray
    engine: np.ndarray
    labels: np.ndarray
    label_names: tuple[str, ...]
    temperature: float = 1.0

    @cached_property
    def finite(self) -> np.ndarray:
        """(N,) bool: is every one of the engine's logits a number?"""
        return np.asarray(np.isfinite(self.engine).all(axis=1))

    @cached_property
    def said_reference(self) -> np.ndarray:
        """(N,) the reference's labels."""
        return np.asarray(self.reference.argmax(axis=1))

    @cached_property
    def said_engine(self) -> np.ndarray:
        """(N,) the engine's labels; -1 where it gave no number."""
        return np.where(self.finite, np.where(self.finite[:, None], self.engine, 0).argmax(axis=1), NO_ANSWER)

    @cached_property
    def right_reference(self) -> np.ndarray:
        """(N,) bool."""
        return np.asarray(self.said_reference == self.labels)

    @cached_property
    def right_engine(self) -> np.ndarray:
        """(N,) bool."""
        return np.asarray(self.said_engine == self.labels)

    @cached_property
    def kl(self) -> np.ndarray:
        """(number of finite answers,) KL from the reference, nats, at temperature 1: what the logits say."""
        return kl_divergence(self.reference[self.finite], self.engine[self.finite])

    @cached_property
    def probabilities(self) -> tuple[np.ndarray, np.ndarray]:
        """Both networks' probabilities at the card's temperature, of the images with finite answers."""
        return softmax(self.reference[self.finite], self.temperature), softmax(self.engine[self.finite],
                                                                               self.temperature)

    @cached_property
    def reliability(self) -> tuple[Reliability, Reliability]:
        """How sure both are and how often right, of the images with finite answers."""
        labels = self.labels[self.finite]
        return reliability(self.probabilities[0], labels), reliability(self.probabilities[1], labels)

    @cached_property
    def calibration_shift(self) -> np.ndarray:
        """(number of finite answers,) values whose mean is the engine's calibration error minus the reference's.

        A calibration error is a sum of |bin sums|, so each image adds its confidence's gap with its bin's sign: the
        delta method's linear part, which is exact for the mean and pairs the images for the interval.
        """
        labels, signed = self.labels[self.finite], []
        for found, shares in zip(self.reliability, self.probabilities):
            confidence = shares.max(axis=1)
            place = np.clip(np.ceil(confidence * len(found.images)).astype(int) - 1, 0, len(found.images) - 1)
            sign = np.sign(found.accuracy - found.confidence)[place]
            signed.append(sign * ((shares.argmax(axis=1) == labels) - confidence))
        return np.asarray(signed[1] - signed[0])

    @cached_property
    def confidence_shift(self) -> float:
        """How much surer the engine is on average, a share."""
        before, after = (shares.max(axis=1) for shares in self.probabilities)
        return float((after - before).mean()) if len(before) else 0.0

    def classes(self) -> tuple[ClassChange, ...]:
        """Return every class that has images."""
        rows = []
        for index, name in enumerate(self.label_names):
            before, after = (right[self.labels == index] for right in (self.right_reference, self.right_engine))
            if len(before):
                lost, won = int((before & ~after).sum()), int((~before & after).sum())
                rows.append((name, len(before), float(before.mean()), float(after.mean()), lost, won))
        adjusted = holm([mcnemar_exact(row[-2], row[-1]) for row in rows])
        return tuple(ClassChange(*row, p) for row, p in zip(rows, adjusted))

    def flips(self) -> np.ndarray:
        """Return the images whose label changed, the largest KL first; answers that are not finite before all."""
        worst = np.full(len(self.labels), np.inf)
        worst[self.finite] = self.kl
        changed = np.flatnonzero(self.said_reference != self.said_engine)
        return changed[np.argsort(-worst[changed], kind="stable")]

    def figures(self) -> dict[str, object]:
        """Return every figure that needs no budget, as plain values."""
        found = compare(self.reference, self.engine, self.labels, self.label_names)
        before, after = self.reliability
        lost = int((self.right_reference & ~self.right_engine).sum())
        won = int((~self.right_reference & self.right_engine).sum())
        return {
            "images": found.images, "accuracy_reference": found.accuracy_reference,
            "accuracy_engine": found.accuracy_engine, "accuracy_drop": found.accuracy_drop, "lost": lost, "won": won,
            "mcnemar_p": mcnemar_exact(lost, won), "agreement": found.agreement, "mean_kl": found.mean_kl,
            "worst_kl": found.worst_kl, "worst_delta": found.worst_delta, "recall_change": found.recall_change,
            "macro_f1_reference": macro_f1(self.said_reference, self.labels, len(self.label_names)),
            "macro_f1_engine": macro_f1(self.said_engine, self.labels, len(self.label_names)),
            "temperature": self.temperature, "confidence_shift": self.confidence_shift,
            "ece_reference": before.error, "ece_engine": after.error, "non_finite": found.non_finite,
        }


def confusion(said: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return counts (classes, classes) of labels (rows) by answers (columns); no answer is in no column."""
    table = np.zeros((classes, classes), dtype=np.int64)
    given = said != NO_ANSWER
    np.add.at(table, (labels[given], said[given]), 1)
    return table


def macro_f1(said: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """Return the mean over the classes with images of 2·right / (images + answers of the class)."""
    table = confusion(said, labels, classes)
    images = np.bincount(labels, minlength=classes)
    held = images > 0
    return float((2 * table.diagonal()[held] / (images + table.sum(axis=0))[held]).mean())
