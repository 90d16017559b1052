"""What is watched of one face: how its crop looks, what FP32 says of it, and how far the engine is from that.

Knows nothing of time or of baselines. The baseline is made of the same functions.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from runtime.agreement import kl_divergence, softmax

ENGINE = "log_kl"  # the one quantity of the engine; the others are the world's
WORLD = ("brightness", "contrast", "sharpness", "confidence", "energy", "beyond_range", "face_side")
ABOVE_ONLY = (ENGINE, "beyond_range")  # smaller is better
LEAST_KL = 1e-9  # nats; two FP32 engines differ by less, from the order of their sums
MOST_KL = 1e3  # an answer that is not finite


def look_at(crop: np.ndarray) -> dict[str, float]:
    """Return how a (C, H, W) uint8 crop looks: mean and deviation in grey levels, and the Laplacian's variance.

    The last is a measure of focus: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
    """
    grey = crop.mean(axis=0) if len(crop) > 1 else crop[0]
    grey = np.ascontiguousarray(grey, np.float32)
    mean, deviation = (float(v[0, 0]) for v in cv2.meanStdDev(grey))
    return {"brightness": mean, "contrast": deviation, "sharpness": float(cv2.Laplacian(grey, cv2.CV_32F).var())}


def weigh(reference: np.ndarray, temperature: float) -> dict[str, float]:
    """Return what (classes,) reference logits say of a face: the best probability, and the energy log Σ exp(logit).

    Liu et al., "Energy-based out-of-distribution detection", NeurIPS 2020, equation 4, its sign turned.
    """
    top = float(reference.max())
    return {"confidence": float(softmax(reference, temperature).max()),
            "energy": top + math.log(float(np.exp(reference.astype(np.float64) - top).sum()))}


def departure(reference: np.ndarray, probabilities: np.ndarray | None, temperature: float) -> tuple[float, float, bool]:
    """Compare an engine's (classes,) probabilities with (classes,) reference logits.

    Returns KL(reference ‖ engine) in nats, the change of the reference label's probability, and whether both give it.
    An engine without a finite answer (None) has a KL of 1,000.
    """
    said = softmax(reference, temperature)
    best = int(said.argmax())
    if probabilities is None:
        return MOST_KL, -float(said[best]), False
    logs = np.log(np.maximum(probabilities.astype(np.float64), 1e-300))
    kl = float(kl_divergence(np.log(np.maximum(said, 1e-300))[None], logs[None])[0])
    return kl, float(probabilities[best] - said[best]), int(probabilities.argmax()) == best


def log_kl(kl: float) -> float:
    """Return log10 of a KL in nats, between those of rounding and of an answer that is not finite."""
    return math.log10(min(max(kl, LEAST_KL), MOST_KL))
