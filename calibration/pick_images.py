"""Which faces to calibrate on: at random, by class, or so that they span what the network sees.

A pick of n is part of the pick of more with the same seed. Knows nothing of files: indices out, and a hash of what was
picked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np

from runtime.errors import BadInput

Choice = Literal["random", "stratified", "k-center", "herding"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
BY_FEATURES: tuple[Choice, ...] = ("k-center", "herding")


def pick_random(available: int, wanted: int, seed: int = 0) -> np.ndarray:
    """Return `wanted` distinct indices below `available`, sorted; all where fewer are there. Raises BadInput."""
    _require_some(available, wanted)
    chosen = np.random.default_rng(seed).permutation(available)[:wanted]
    return np.sort(chosen)


def pick_stratified(labels: np.ndarray, wanted: int, seed: int = 0) -> np.ndarray:
    """Return `wanted` indices, sorted, in which every class of labels (N,) has about its share of the set.

    A class of share p (0–1) among k classes is off by at most 1 + p·(k - 2) faces: each is up to one off in its own
    turns, and all others' turns move where the pick ends. Raises BadInput for a set of one class: there is nothing to
    stratify.
    """
    _require_some(len(labels), wanted)
    classes, member = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise BadInput(f"expected faces of two or more classes to stratify, found only class {classes[0]}; "
                       "choose the images with --choice random or k-center")
    random = np.random.default_rng(seed)
    turn = np.empty(len(labels))
    for index, start in enumerate(random.random(len(classes))):
        rows = random.permutation(np.flatnonzero(member == index))
        turn[rows] = (np.arange(len(rows)) + start) / len(rows)  # a class of few waits longer for each of its turns
    return np.sort(np.argsort(turn, kind="stable")[:wanted])


def pick_k_center(features: np.ndarray, wanted: int, seed: int = 0) -> np.ndarray:
    """Return `wanted` indices, sorted: each the farthest in features (N, D) from all before it, the first by the seed.

    The largest distance from a face to its nearest pick is at most twice the least possible (Gonzalez, 1985; as a core
    set: Sener and Savarese, ICLR 2018, https://arxiv.org/abs/1708.00489).
    """
    _require_some(len(features), wanted)
    squares = np.einsum("ij,ij->i", features, features)
    picks = [int(np.random.default_rng(seed).integers(len(features)))]
    nearest = np.full(len(features), np.inf, dtype=np.float32)
    while len(picks) < min(wanted, len(features)):
        last = picks[-1]
        np.minimum(nearest, squares - 2 * (features @ features[last]) + squares[last], out=nearest)
        nearest[last] = -np.inf  # copies of a pick stay at about 0 and come last
        picks.append(int(np.argmax(nearest)))
    return np.sort(picks)


def pick_herding(features: np.ndarray, wanted: int) -> np.ndarray:
    """Return `wanted` indices, sorted, whose mean in features (N, D) stays nearest to the set's, one after the other.

    Needs no seed. Welling, ICML 2009: https://doi.org/10.1145/1553374.1553517
    """
    _require_some(len(features), wanted)
    mean = features.mean(axis=0, dtype=np.float64)
    toward, squares = features @ mean.astype(np.float32), np.einsum("ij,ij->i", features, features)
    picks: list[int] = []
    total = np.zeros_like(mean)
    free = np.ones(len(features), dtype=bool)
    while len(picks) < min(wanted, len(features)):
        # |mean - (total + x) / n|² without what is equal for every x
        count = len(picks) + 1
        cost = squares + 2 * (features @ total.astype(np.float32)) - 2 * count * toward
        best = int(np.argmin(np.where(free, cost, np.inf)))
        picks.append(best)
        free[best] = False
        total += features[best]
    return np.sort(picks)


def _require_some(available: int, wanted: int) -> None:
    if wanted < 1 or available < 1:
        raise BadInput(f"expected at least one image to calibrate on, found {wanted} wanted of {available}")


def hash_images(faces: Iterable[np.ndarray]) -> str:
    """Return the SHA-256 of the uint8 faces in order: the image list's identity in the card."""
    digest = hashlib.sha256()
    for face in faces:
        digest.update(np.ascontiguousarray(face).data)
    return digest.hexdigest()
