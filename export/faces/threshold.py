"""The score from which a find is a face, chosen where nothing is reported: the best F1 of precision and recall.

A stream wants fewer false faces than the one a picture that recall is compared at; the harmonic mean asks for both.
"""

from __future__ import annotations

import numpy as np
from torch import nn

from export.faces.held_out import HeldOut
from train.faces.metrics import MATCH, Truth, match
from train.faces.task import detect

SMALLEST = 20.0  # px of the faces that count: less than a stream reads


def best_threshold(network: nn.Module, held_out: HeldOut) -> float:
    """Return the score, 0–1 to two digits, of the best F1 on composed scenes, empty ones included."""
    pictures = [*held_out.composed, *held_out.empty]
    nothing = [Truth(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0, bool))]
    found = [detect(network, picture) for picture in pictures]
    matches = match(found, [*held_out.composed_truths, *nothing * len(held_out.empty)], MATCH, (SMALLEST, np.inf))
    hits = np.cumsum(matches.hits)
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / max(1, matches.faces)
    best = int(np.argmax(2 * precision * recall / np.maximum(precision + recall, 1e-9)))
    return float(np.clip(np.round(matches.scores[best], 2), 0.05, 0.95))
