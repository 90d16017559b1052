"""Many faces through one engine, in batches with a progress bar. Knows no labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from runtime.card import Model
from runtime.engines.engine import Engine

BATCH = 64

Logits = Callable[[np.ndarray], np.ndarray]  # (N, C, H, W) uint8 → (N, classes) float32


def engine_logits(engine: Engine, model: Model) -> Logits:
    """Return a function that runs faces through an engine in batches."""
    name, output = model.card.input_name, model.card.output_name

    def logits(faces: np.ndarray) -> np.ndarray:
        return engine.run({name: np.ascontiguousarray(faces)})[output]

    return logits


def run_all(logits: Logits, faces: np.ndarray, what: str) -> np.ndarray:
    """Run (N, C, H, W) faces in batches with a progress bar; returns (N, classes)."""
    starts = tqdm(range(0, len(faces), BATCH), desc=what, leave=False, disable=None, unit="batch")
    return np.concatenate([logits(faces[i : i + BATCH]) for i in starts])
