"""Latency of engines side by side: their runs are interleaved, so that a machine's slow minute hits them alike.

Knows nothing of accuracy. Ratios are of medians of paired rounds; absolute milliseconds belong to this machine alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.card import Model
from runtime.engines.engine import Engine

WARM_UP = 5  # runs of each engine that are not counted: allocations and caches


@dataclass(frozen=True)
class Entrant:
    """One engine in the comparison, by the name it goes by in the record."""

    name: str
    model: Model
    engine: Engine
    bytes: int


def bench(entrants: list[Entrant], batch: int, rounds: int) -> list[dict[str, Any]]:
    """Run every engine once a round on the same random faces; returns one row an engine.

    Milliseconds are a batch's; `ratio` is the median over rounds of this engine's time by the first one's.
    """
    random = np.random.default_rng(0)
    inputs = []
    for entrant in entrants:
        card = entrant.model.card
        shape = (batch, card.input.channels, card.input.height, card.input.width)
        inputs.append({card.input_name: random.integers(0, 256, shape, dtype=np.uint8)})
    times = np.zeros((rounds, len(entrants)))
    for turn in range(-WARM_UP, rounds):
        for index, entrant in enumerate(entrants):
            began = time.perf_counter()
            entrant.engine.run(inputs[index])
            if turn >= 0:
                times[turn, index] = 1000 * (time.perf_counter() - began)
    return [{
        "name": entrant.name, "batch": batch, "bytes": entrant.bytes,
        "milliseconds": {f"p{q}": round(float(np.percentile(times[:, i], q)), 4) for q in (50, 90, 95, 99)},
        "faces_per_second": round(1000 * batch / float(np.median(times[:, i])), 1),
        "ratio": round(float(np.median(times[:, i] / times[:, 0])), 4),
    } for i, entrant in enumerate(entrants)]
