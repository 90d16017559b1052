"""How good answers are and how two networks' answers to the same images differ, in plain numpy.

Knows no engine and no file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

BINS = 15  # of confidence (Guo et al. 2017, section 5)


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


def negative_log_likelihood(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of -log of what (N, classes) probabilities gave the true labels (N,), nats."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-300)).mean())


@dataclass(frozen=True)
class Reliability:
    """Images in equal bins of confidence, from unsure to sure; each (bins,), the shares NaN where a bin is empty."""

    images: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: the bins' |accuracy - confidence|, weighted by their images."""
        held = self.images > 0
        gaps = np.abs(self.accuracy - self.confidence)[held]
        return float((self.images[held] * gaps).sum() / max(1, self.images.sum()))


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Reliability:
    """Compare how sure (N, classes) probabilities are with how often they are right; bins hold ((b-1)/bins, b/bins].

    Guo et al., "On calibration of modern neural networks", ICML 2017, https://arxiv.org/abs/1706.04599, equation 3.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(images, np.bincount(place, confidence, bins) / images,
                           np.bincount(place, right, bins) / images)


def wilson_interval(hits: float, count: float, z: float = 1.959964) -> tuple[float, float]:
    """Return the interval of a share (0–1) of `count` independent images; z is 95 %'s, two-sided.

    Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953: it stays inside 0–1, and ends at 0 without a hit, at
    1 with all.
    """
    if not count:
        return 0.0, 1.0
    share, spread = hits / count, z * z / count
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, centre - half) if hits else 0.0, min(1.0, centre + half) if hits != count else 1.0


def paired_interval(right_before: np.ndarray, right_after: np.ndarray, z: float = 1.959964) -> tuple[float, float]:
    """Return the interval of the accuracy lost (before minus after, shares) on the same N images; both (N,) bool.

    Newcombe 1998, method 10, https://doi.org/10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C: two
    Wilson intervals and the images' correlation. Far narrower than two accuracies' own intervals, for most images are
    answered alike. Raises ValueError for arrays of different lengths; (-1, 1) without an image.
    """
    if right_before.shape != right_after.shape:
        raise ValueError(f"expected answers to the same images, found {right_before.shape} and {right_after.shape}")
    count = len(right_before)
    if not count:
        return -1.0, 1.0
    both, neither = int((right_before & right_after).sum()), int((~right_before & ~right_after).sum())
    lost, won = int((right_before & ~right_after).sum()), int((~right_before & right_after).sum())
    before, after = (both + lost) / count, (both + won) / count
    product = float(both * neither - lost * won)
    product = max(product - count / 2, 0.0) if product > 0 else product  # the paper's correction for continuity
    margins = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    phi = product / math.sqrt(margins) if margins else 0.0
    (low_before, high_before), (low_after, high_after) = (wilson_interval(both + lost, count, z),
                                                          wilson_interval(both + won, count, z))
    down, up = (before - low_before, high_after - after), (after - low_after, high_before - before)
    difference = before - after
    return (difference - math.sqrt(down[0] ** 2 - 2 * phi * down[0] * down[1] + down[1] ** 2),
            difference + math.sqrt(up[0] ** 2 - 2 * phi * up[0] * up[1] + up[1] ** 2))


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
