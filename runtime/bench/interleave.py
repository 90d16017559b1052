"""Latency of engines side by side: their runs are interleaved, so that a machine's slow minute hits them alike.

Knows nothing of accuracy. Ratios are of medians of paired rounds; absolute milliseconds belong to this machine alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bench.bootstrap import interval_of_median
from runtime.card import Model
from runtime.engines.engine import Engine

WARM_UP_ROUNDS = 5  # runs of each engine that are not counted: allocations and caches
WARM_UP_SECONDS = 1.0  # and as long as clocks take to rise: a Jetson's governor looks every tenth of a second


@dataclass(frozen=True)
class Entrant:
    """One engine in the comparison, by the name it goes by in the record."""

    name: str
    model: Model
    engine: Engine
    bytes: int


def random_faces(model: Model, batch: int) -> dict[str, np.ndarray]:
    """Return a batch of noise in the card's shape, (N, C, H, W) uint8, by its input's name: time asks for no faces."""
    face = model.card.input
    shape = (batch, face.channels, face.height, face.width)
    return {model.card.input_name: np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)}


def bench(entrants: list[Entrant], batch: int, rounds: int, warm_up_seconds: float = WARM_UP_SECONDS
          ) -> list[dict[str, Any]]:
    """Run every engine once a round on the same random faces; returns one row an engine.

    Milliseconds are a batch's, from arrays in to arrays out; `faces_per_second` counts the slow runs too. `ratio` is
    the median over rounds of this engine's time by the first one's, with its 95 % interval. `device_milliseconds` is
    there where an engine has its GPU's clock tell (`last_device_seconds` after a run); the host's share is the rest.
    `waited_for_core` is the share of the time in which this thread could have run and had no core: about 0 when idle.
    """
    inputs = [random_faces(entrant.model, batch) for entrant in entrants]
    times = np.zeros((rounds, len(entrants)))
    on_device = np.full((rounds, len(entrants)), np.nan)
    warm_until, turn = time.perf_counter() + warm_up_seconds, -WARM_UP_ROUNDS
    began_rounds, waited = time.perf_counter(), seconds_without_core()
    while turn < rounds:
        for index, entrant in enumerate(entrants):
            began = time.perf_counter()
            entrant.engine.run(inputs[index])
            ended = time.perf_counter()
            if turn >= 0:
                times[turn, index] = 1000 * (ended - began)
                measured = getattr(entrant.engine, "last_device_seconds", None)
                on_device[turn, index] = np.nan if measured is None else 1000 * measured
        turn += 1
        if turn == 0:
            turn = -1 if time.perf_counter() < warm_until else 0
            began_rounds, waited = time.perf_counter(), seconds_without_core()
    share = (seconds_without_core() - waited) / (time.perf_counter() - began_rounds)
    return [_row(entrant, batch, times[:, i], on_device[:, i], times[:, i] / times[:, 0])
            | {"waited_for_core": round(share, 4)} for i, entrant in enumerate(entrants)]


def _row(entrant: Entrant, batch: int, times: np.ndarray, on_device: np.ndarray, ratios: np.ndarray) -> dict[str, Any]:
    row = {
        "name": entrant.name, "batch": batch, "bytes": entrant.bytes, "milliseconds": percentiles(times),
        "faces_per_second": round(1000 * batch / float(times.mean()), 1),
        "ratio": round(float(np.median(ratios)), 4),
        "ratio_interval": [round(edge, 4) for edge in interval_of_median(ratios)],
    }
    if np.isfinite(on_device).all():
        row |= {"device_milliseconds": percentiles(on_device), "host_milliseconds": percentiles(times - on_device)}
    return row | {"samples_ms": [round(float(t), 4) for t in times]}


def seconds_without_core() -> float:
    """Seconds this thread has stood in the queue for a core; 0 where Linux does not count them.

    The second number of schedstat: https://www.kernel.org/doc/html/latest/scheduler/sched-stats.html
    """
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def percentiles(values: np.ndarray) -> dict[str, float]:
    """Return p50, p90, p95 and p99, to a tenth of a microsecond where values are milliseconds."""
    return {f"p{q}": round(float(np.percentile(values, q)), 4) for q in (50, 90, 95, 99)}
