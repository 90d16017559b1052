"""How far the outputs of legal backends lie from the exact ones: the tolerance that a gate may derive.

Knows nothing of golden faces or cards. The worst case over all layers bounds nothing (the logits' whole range, after
ten layers), so backends are drawn that choose at random among the legal integers, and the largest departure is taken.
"""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from calibration.integer_oracle.legal import Rounded
from calibration.integer_oracle.oracle import Oracle

# The largest of 59 draws lies above 95 % of all draws with 95 % confidence: 1 - 0.95^59 ≥ 0.95 (Wilks, Annals of
# Mathematical Statistics 12(1), 1941)
DRAWS = 59


def exact_outputs(oracle: Oracle, faces: np.ndarray) -> dict[str, np.ndarray]:
    """Return each float output, (N, …) float64, of a backend that rounds nothing but the integers."""
    parts = [oracle.walk(faces[batch], lambda _, legal: legal.exact) for batch in oracle.batches(faces)]
    return {name: np.concatenate([part[name].value for part in parts]) for name in oracle.outputs}


def legal_bound(oracle: Oracle, faces: np.ndarray, draws: int = DRAWS, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the largest legal |Δ| found for each float output, (classes,) float64, over (N, C, H, W) uint8 faces.

    draws: backends, each over all faces; an integer with a choice takes any legal value with equal chance. Two more
    always choose the least and the largest: what a bias in one direction adds up to.
    """
    random = np.random.default_rng(seed)
    exact = exact_outputs(oracle, faces)
    largest: dict[str, np.ndarray] = {}
    for draw in tqdm(range(2 + draws), desc="legal backends", leave=False, disable=None, unit="backend"):
        def settle(_: str, legal: Rounded, draw: int = draw) -> np.ndarray:
            if draw < 2 or legal.low is legal.high:
                return legal.high if draw == 1 else legal.low
            return random.integers(legal.low, legal.high, endpoint=True, dtype=legal.exact.dtype)

        for batch in oracle.batches(faces):
            for name, drawn in oracle.walk(faces[batch], settle).items():
                off = (np.abs(drawn.value - exact[name][batch]) + drawn.slack).max(axis=0)
                largest[name] = np.maximum(largest.get(name, off), off)
    return largest
