"""Which images train and which are tested: the canonical split, 90/10, ten-fold, and ten-fold by person.

Index arrays in, index arrays out; knows no pixels. The papers draw frames at random, so a person, and even the next
frame of one sequence, stands on both sides; `shared_subjects` counts that, the last protocol prevents it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.errors import BadInput

FOLDS = 10


@dataclass(frozen=True)
class Fold:
    """Indices into a data set, int64, ascending, without an image in common."""

    train: np.ndarray
    test: np.ndarray


def canonical_split(splits: np.ndarray, train: Sequence[str], test: Sequence[str]) -> Fold:
    """Take the data set's own splits by name, `splits` (N,) text. Raises BadInput for a name that has no image."""
    if set(train) & set(test):
        raise BadInput(f"expected splits without one in common, found {', '.join(train)} and {', '.join(test)}")
    for name in (*train, *test):
        if name not in splits:
            known = ", ".join(dict.fromkeys(splits.tolist()))
            raise BadInput(f"expected a split of {known}, found {name}; a set without one takes ten-fold")
    return Fold(np.flatnonzero(np.isin(splits, train)), np.flatnonzero(np.isin(splits, test)))


def random_90_10(count: int, seed: int) -> Fold:
    """Draw a tenth of `count` images for the test, rounded up as in paper C: 93 of 99 from CK+'s 981."""
    order = _shuffled(count, seed)
    tenth = math.ceil(count / 10)
    return Fold(np.sort(order[tenth:]), np.sort(order[:tenth]))


def ten_fold(count: int, seed: int) -> tuple[Fold, ...]:
    """Draw ten folds of images at random, the papers' way: every image is tested once. 981 give 99 and nine 98s."""
    return _folds(np.array_split(_shuffled(count, seed), FOLDS), count)


def subject_independent_ten_fold(subjects: np.ndarray, seed: int) -> tuple[Fold, ...]:
    """Draw ten folds of people, `subjects` (N,) text; nobody is trained on and tested in one fold.

    People with most images are dealt first, each into the fold that has fewest, so the folds are about equal; the seed
    decides among equals.
    """
    people, images_of = np.unique(subjects, return_inverse=True)
    if len(people) < FOLDS:
        raise BadInput(f"expected {FOLDS} or more people, found {len(people)}; take ten-fold over images")
    counts = np.bincount(images_of)
    order = _shuffled(len(people), seed)
    order = order[np.argsort(-counts[order], kind="stable")]
    fold_of, sizes = np.zeros(len(people), dtype=np.int64), np.zeros(FOLDS, dtype=np.int64)
    for person in order:
        fold_of[person] = sizes.argmin()
        sizes[fold_of[person]] += counts[person]
    return _folds([np.flatnonzero(fold_of[images_of] == fold) for fold in range(FOLDS)], len(subjects))


def shared_subjects(fold: Fold, subjects: np.ndarray) -> int:
    """Return how many people stand on both sides of a fold."""
    return len(np.intersect1d(subjects[fold.train], subjects[fold.test]))


def _shuffled(count: int, seed: int) -> np.ndarray:
    """Return 0 … count-1 shuffled. RandomState's stream is frozen (NumPy's NEP 19), so a seed is one draw for good."""
    if count < FOLDS:
        raise BadInput(f"expected {FOLDS} or more, found {count}; ten-fold needs one for each fold")
    return np.random.RandomState(seed).permutation(count)


def _folds(tests: Sequence[np.ndarray], count: int) -> tuple[Fold, ...]:
    every = np.arange(count)
    return tuple(Fold(np.setdiff1d(every, test), np.sort(test)) for test in tests)
