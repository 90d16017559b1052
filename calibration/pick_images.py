"""Which faces to calibrate on. Knows nothing of files: indices in, indices out, and a hash of what was picked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from runtime.errors import BadInput


def pick_random(available: int, wanted: int, seed: int = 0) -> np.ndarray:
    """Return `wanted` distinct indices below `available`, sorted; all where fewer are there. Raises BadInput."""
    if wanted < 1 or available < 1:
        raise BadInput(f"expected at least one image to calibrate on, found {wanted} wanted of {available}")
    chosen = np.random.default_rng(seed).permutation(available)[:wanted]
    return np.sort(chosen)


def hash_images(faces: Iterable[np.ndarray]) -> str:
    """Return the SHA-256 of the uint8 faces in order: the image list's identity in the card."""
    digest = hashlib.sha256()
    for face in faces:
        digest.update(np.ascontiguousarray(face))
    return digest.hexdigest()
