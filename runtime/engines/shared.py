"""One open engine for all who ask for the same: a new configuration whose network stays opens none beside the old.

Two users never run it at once; the stream's loop is the only one. Knows nothing of what an engine computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.card import Model, ModelCard
from runtime.engines import open_engine
from runtime.engines.engine import Engine


@dataclass
class _Opened:
    """An engine, what was asked for, and how many use it."""

    card: ModelCard  # holds the graphs' hashes: the same card is the same network
    asked: tuple[str, str, int, Path | None]
    engine: Engine
    users: int = 0


class SharedEngines:
    """Opens engines as `open_engine` does, and the same one again where the same is asked while it is open."""

    def __init__(self) -> None:
        """Nothing is open."""
        self._opened: list[_Opened] = []

    def open(self, model: Model, precision: str, target: str, threads: int, cache: Path | None) -> Engine:
        """Return an engine that its user closes; the last one's `close` closes it. Raises what `open_engine` raises.

        None is ever compiled: a service uses the engines that `mien prepare` left (docs/engine-cache.md).
        """
        asked = (precision, target, threads, cache)
        for each in self._opened:
            if (each.card, each.asked) == (model.card, asked):
                return _Share(self._opened, each)
        engine = open_engine(model, precision, target, threads, cache, may_compile=False)
        self._opened.append(_Opened(model.card, asked, engine))
        return _Share(self._opened, self._opened[-1])


class _Share:
    """One user's hold of an engine."""

    def __init__(self, opened: list[_Opened], held: _Opened):
        self._opened, self._held, self._closed = opened, held, False
        held.users += 1
        self.target, self.precision = held.engine.target, held.engine.precision
        self.compiled_sha256 = held.engine.compiled_sha256
        self.inputs, self.outputs = held.engine.inputs, held.engine.outputs

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._held.engine.run(arrays)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._held.users -= 1
        if not self._held.users:
            self._opened.remove(self._held)
            self._held.engine.close()
