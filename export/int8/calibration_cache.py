"""A calibrated model ↔ a file with NVIDIA's calibration cache: written from the card, or held against it.

Knows nothing of the text in the file (`calibration/tensorrt_cache.py`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from calibration.ranges import scale_of
from calibration.tensorrt_cache import (
    REBUILD,
    CacheKey,
    hash_images,
    hash_preprocessing,
    read_calibration_cache,
    write_calibration_cache,
)
from runtime.card import ModelCard
from runtime.errors import BadInput


def save_cache(path: Path, card: ModelCard, version: str) -> None:
    """Write a calibrated model's scales for a TensorRT of this version. Raises BadInput."""
    write_calibration_cache(path, scales_of(card), version, key_of(card))


def require_own_cache(path: Path, card: ModelCard) -> int:
    """Return how many scales a cache holds, where they are a model's own; the builder would take any.

    Raises BadInput, with the command that rebuilds it, for a cache of another graph, other images or another crop, one
    that was changed, or one whose scales another method chose.
    """
    if not card.calibration:
        raise BadInput(f"expected a calibrated model to hold {path.name} against, found {card.name} without INT8; "
                       f"{REBUILD}")
    found, own = read_calibration_cache(path, key_of(card)), scales_of(card)
    other = sorted(name for name in found.keys() | own.keys() if found.get(name) != own.get(name))
    if other:
        raise BadInput(f"expected the scales that {card.name}'s INT8 graphs hold, found other ones in {path.name} for "
                       f"{len(other)} of {len(own)} tensors, {other[0]} first; {REBUILD}")
    return len(found)


def key_of(card: ModelCard) -> CacheKey:
    """Return what a model's scales were taken from."""
    return CacheKey(card.graphs["fp32"].sha256, hash_images(card.calibration), hash_preprocessing(card.input))


def scales_of(card: ModelCard) -> dict[str, np.float32]:
    """Return a model's scales by tensor."""
    return {name: scale_of(threshold) for name, threshold in card.calibration["thresholds"].items()}
