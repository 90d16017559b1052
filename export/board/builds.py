"""Every graph through NVIDIA's compiler: for the GPU that is here, into the cache that later parts open, without onnx.

Knows nothing of what the engines answer (`numerics.py`).
"""

from __future__ import annotations

from typing import Any

from export.board.task import Measured, Task, of_every_precision
from runtime.engines import graph_for
from runtime.engines.cache import EngineCache, default_folder
from runtime.engines.prepared_engine import PreparedEngine, prepare_engine
from runtime.errors import Unavailable


def prepared(task: Task, precision: str) -> PreparedEngine:
    """Find or compile one engine for the GPU that is here. Raises what `prepare_engine` raises."""
    if task.target == "cpu":
        raise Unavailable("expected a target that compiles, found cpu, which runs graphs as they are")
    graph = graph_for(precision, task.target)
    return prepare_engine(task.open_model(), graph, task.target, EngineCache(default_folder()), task.timeout_seconds)


def build_here(task: Task) -> Measured:
    """Compile every precision; each row is a `record.Build`."""
    def row(precision: str) -> dict[str, Any]:
        engine = prepared(task, precision)
        said = engine.cached.sidecar
        return {"precision": precision, "graph_sha256": engine.key.graph_sha256, "target": task.target,
                "compiler": engine.key.compiler_version, "gpus": [engine.key.sm], "engine_bytes": said["engine_bytes"],
                "peak_bytes": said["build_peak_bytes"], "seconds": said["build_seconds"]}

    return of_every_precision(row)
