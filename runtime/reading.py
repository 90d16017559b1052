"""Open what reads expressions: a model, an engine that agrees with its golden faces, and the reader of both.

Under a supervisor an engine that fails is replaced by the next of the ladder, and says so. Knows nothing of frames.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.card import Model, load_model
from runtime.engines import graph_for
from runtime.engines.engine import Engine
from runtime.engines.shared import SharedEngines
from runtime.errors import BadInput, GpuLost, MienError, RestartNeeded
from runtime.expressions import ExpressionReader
from runtime.golden import Agreement, require_agreement
from runtime.stream_config import StreamConfig
from runtime.supervision.fallback import Choice, FailureCount, ladder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """What is open; `fallback` says in a line what was asked and why it is not what runs, or ''."""

    model: Model
    engine: Engine
    precision: str
    graph: str
    agreement: Agreement
    reader: ExpressionReader
    failures: FailureCount
    fallback: str

    def facts(self) -> dict[str, Any]:
        """Return what an event says of it."""
        return {"model": self.model.card.name, "precision": self.precision, "target": self.engine.target,
                "sha256": self.model.card.graphs[self.graph].sha256}

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()


class CountedEngine:
    """An engine whose failures in work are counted, and end the process that it stands in."""

    def __init__(self, engine: Engine, failures: FailureCount):
        """Take over an open engine."""
        self._engine, self._failures = engine, failures
        self.target, self.precision = engine.target, engine.precision
        self.compiled_sha256 = engine.compiled_sha256
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once. Raises GpuLost, or RestartNeeded for whatever else the engine raised."""
        try:
            return self._engine.run(arrays)
        except GpuLost as error:
            self._failures.add(str(error))
            raise
        except MienError as error:
            self._failures.add(str(error))
            raise RestartNeeded(f"{error}; this process ends, for its supervisor to start another") from error

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


def open_reading(config: StreamConfig, state: Path | None, engines: SharedEngines | None = None) -> Reading:
    """Open what a configuration asks for; with a state folder, what works of its ladder.

    engines: those that are open already. Raises what the last rung raised: BadInput, BadModel, Unavailable, Departure.
    GpuLost at once: another rung of the same process would not find the GPU either, and the next process begins lower
    once it was lost too often.
    """
    model = load_model(Path(config.model))
    if model.card.task != "expression":
        raise BadInput(f"expected a model that reads expressions, found {model.directory}, which finds faces; give it "
                       "as --faces")
    asked = Choice(config.precision, config.target)
    failures = FailureCount(state, model.card.name, asked, config.supervision.engine_tries)
    rungs = ladder(asked)[failures.rung():] if state else [asked]
    why = failures.why if failures.rung() else ""
    for choice in rungs:
        try:
            return _open(config, model, choice, failures, engines or SharedEngines(),
                         f"{asked} failed: {why}; {choice} runs" if why else "")
        except GpuLost as error:
            failures.add(str(error))
            raise
        except MienError as error:
            if choice == rungs[-1]:
                raise
            why = str(error)
            log.warning("%s failed: %s; trying the next", choice, why)
    raise AssertionError("a ladder has a rung")  # unreachable: the last rung returns or raises


def _open(config: StreamConfig, model: Model, choice: Choice, failures: FailureCount, engines: SharedEngines,
          fallback: str) -> Reading:
    with ExitStack() as stack:
        engine = engines.open(model, choice.precision, choice.target, config.threads, config.cache)
        stack.callback(engine.close)
        graph = graph_for(choice.precision, engine.target)
        agreement = require_agreement(model, engine, graph)
        counted = CountedEngine(engine, failures)
        reader = ExpressionReader(model, counted, config.threshold)
        stack.pop_all()
        return Reading(model, counted, choice.precision, graph, agreement, reader, failures, fallback)
