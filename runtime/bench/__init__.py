"""Latency, memory and power of engines, side by side, as one record a run.

Knows of accuracy only what a model's card and records of `mien check` say.
"""

from __future__ import annotations

from runtime.bench.interleave import Entrant, bench

__all__ = ["Entrant", "bench"]
