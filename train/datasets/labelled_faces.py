"""A set of labelled face images in memory, and the questions every data set is asked.

Knows nothing of where the images came from or of any network.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class LabelledFaces:
    """Faces, decoded once: images (N, H, W) grey or (N, H, W, 3) RGB uint8, labels (N,) int64, splits (N,) text.

    Labels count into `label_names`. Where the data set tells: `subjects` (N,) text, who it is, and `poses` (N,) int64,
    the head's turn in degrees with 0 frontal.
    """

    images: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    names: Sequence[str]
    label_names: tuple[str, ...]
    unreadable: tuple[str, ...] = field(default=())
    subjects: np.ndarray | None = None
    poses: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, chosen: np.ndarray) -> LabelledFaces:
        """Keep the images that a boolean mask (N,) or an index array chooses."""
        index = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        names = [self.names[i] for i in index.tolist()]
        return LabelledFaces(
            images=self.images[index],
            labels=self.labels[index],
            splits=self.splits[index],
            names=names,
            label_names=self.label_names,
            subjects=None if self.subjects is None else self.subjects[index],
            poses=None if self.poses is None else self.poses[index],
        )

    def split(self, *wanted: str) -> LabelledFaces:
        """Keep the images of the named splits, in their order."""
        return self.where(np.isin(self.splits, wanted))

    def pixel_hashes(self) -> np.ndarray:
        """Return one 64-bit hash an image, (N,) uint64: equal for exact pixel copies."""
        digests = [hashlib.blake2b(np.ascontiguousarray(i).data, digest_size=8).digest() for i in self.images]
        return np.frombuffer(b"".join(digests), dtype=np.uint64)

    def sha256(self) -> str:
        """Return the hash of pixels, labels and splits in order: the data's identity in every record."""
        digest = hashlib.sha256(",".join(self.label_names).encode(errors="surrogateescape"))
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(self.labels.astype("<i8").tobytes())
        digest.update("\n".join(self.splits.tolist()).encode())
        return digest.hexdigest()

    def counts(self) -> dict[str, dict[str, int]]:
        """Return images per split and label: {split: {label: n}}."""
        table: dict[str, dict[str, int]] = {}
        for split in dict.fromkeys(self.splits.tolist()):
            labels = Counter(self.labels[self.splits == split].tolist())
            table[split] = {name: labels.get(i, 0) for i, name in enumerate(self.label_names)}
        return table


@dataclass(frozen=True)
class Duplicates:
    """Exact pixel copies: inside each split, and between each pair of splits (and how many under another label)."""

    extra_inside: dict[str, int]
    of_several_labels: dict[str, int]  # pictures that stand under several labels inside a split
    across: dict[tuple[str, str], tuple[int, int]]
    blank: int


def find_duplicates(faces: LabelledFaces) -> Duplicates:
    """Count exact copies. `across[a, b]`: images of b whose pixels stand in a too; those under another label there."""
    hashes = faces.pixel_hashes()
    splits = list(dict.fromkeys(faces.splits.tolist()))
    members = {s: np.flatnonzero(faces.splits == s) for s in splits}
    extra = {s: len(index) - len(np.unique(hashes[index])) for s, index in members.items()}
    several, across = dict.fromkeys(splits, 0), {}
    for i, first in enumerate(splits):
        labels_of: dict[int, set[int]] = {}
        for k in members[first]:
            labels_of.setdefault(int(hashes[k]), set()).add(int(faces.labels[k]))
        several[first] = sum(len(labels) > 1 for labels in labels_of.values())
        for second in splits[i + 1 :]:
            copies = [k for k in members[second] if int(hashes[k]) in labels_of]
            other = sum(labels_of[int(hashes[k])] != {int(faces.labels[k])} for k in copies)
            across[first, second] = (len(copies), other)
    flat = faces.images.reshape(len(faces), -1)
    blank = int((flat.min(axis=1) == flat.max(axis=1)).sum()) if len(faces) else 0
    return Duplicates(extra, several, across, blank)


def without_copies_of(faces: LabelledFaces, other: LabelledFaces) -> LabelledFaces:
    """Drop the images of `faces` whose pixels also stand in `other`."""
    return faces.where(~np.isin(faces.pixel_hashes(), other.pixel_hashes()))
