"""What `mien prepare` does before a service starts: compile the engine it will open, and hold it to PyTorch's answers.

On the CPU nothing is compiled: the graph itself is opened and held to them. A oneshot that may write the cache; the
service only reads it. Knows nothing of cameras or faces.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.card import PRECISIONS, Model
from runtime.engines import GPU_TARGETS, graph_for, open_graph_on_cpu, open_prepared
from runtime.engines.cache import EngineCache
from runtime.engines.prepared_engine import PreparedEngine, prepare_engine, replace_engine
from runtime.errors import BadModel, GpuLost, Unavailable
from runtime.golden import Agreement, Departure, read_golden, require_agreement
from runtime.machine import find_gpu

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Proven:
    """An engine in the cache, and how far from PyTorch its golden faces were."""

    prepared: PreparedEngine
    agreement: Agreement

    def facts(self) -> dict[str, Any]:
        """Return what JSON says of it."""
        cached = self.prepared.cached
        return {"precision": self.prepared.precision, "file": str(cached.path), "compiled_now": cached.compiled_now,
                "golden_difference": self.agreement.largest, "golden_bound": self.agreement.bound, **cached.sidecar}

    def to_text(self) -> str:
        """Return one line for a person."""
        cached = self.prepared.cached
        return (f"{self.prepared.key}, {'compiled' if cached.compiled_now else 'found'}: {cached.path}  "
                f"golden faces: worst |Δlogit| {self.agreement.largest:.2g}, {self.agreement.bound:.2g} allowed")


@dataclass(frozen=True)
class OnCpu:
    """Nothing was compiled: `target` means the CPU here, and why; and how far from PyTorch the golden faces were."""

    target: str
    why: str
    agreement: Agreement

    def to_text(self) -> str:
        """Return one line for a person."""
        return (f"{self.target} runs on the CPU here: nothing to compile; {self.why}  golden faces: worst |Δlogit| "
                f"{self.agreement.largest:.2g}, {self.agreement.bound:.2g} allowed")


def precisions_of(model: Model, asked: Sequence[str], target: str, every: bool) -> list[str]:
    """Return what to prepare of a model: `asked`, and with `every` on the CPU, where it costs a moment, all it has.

    A stream comes to the others when an engine fails, or a person edits its configuration; a canary opens none of them.
    """
    on_cpu = target == "cpu" or (target == "auto" and not find_gpu(Path("/")))
    others = [precision for precision in PRECISIONS if every and on_cpu and precision in model.card.graphs]
    return list(dict.fromkeys([*asked, *others]))


def prepare(model: Model, precision: str, target: str, cache: EngineCache, timeout_seconds: float) -> Proven | OnCpu:
    """Leave a proven engine in the cache, where `target` needs one; `auto` needs none where the service finds none.

    Where the CPU will do the work, the graph is opened and proven there instead. Raises Unavailable, BadInput,
    BadModel, Departure where a fresh engine is not PyTorch's, and MienError.
    """
    graph_for(precision, target)
    if target == "cpu":
        return _prove_on_cpu(model, precision, target, "as asked")
    if target != "auto":
        return _prepare_proven(model, precision, target, cache, timeout_seconds)
    if not find_gpu(Path("/")):
        return _prove_on_cpu(model, precision, target, "no NVIDIA GPU was found")
    return _prepare_first(model, precision, cache, timeout_seconds)


def _prepare_first(model: Model, precision: str, cache: EngineCache, timeout_seconds: float) -> Proven | OnCpu:
    """Prepare for the first compiler that is here, which is the one `auto` will ask for; without one it is the CPU."""
    missing = []
    for target in GPU_TARGETS:
        try:
            return _prepare_proven(model, precision, target, cache, timeout_seconds)
        except GpuLost:  # no other compiler reaches it either
            raise
        except Unavailable as error:
            missing.append(str(error))
    # as `open_engine` will, so a unit that requires this one must start
    return _prove_on_cpu(model, precision, "auto", "; ".join(missing))


def _prove_on_cpu(model: Model, precision: str, target: str, why: str) -> OnCpu:
    """Open a graph with ONNX Runtime, and hold it to the golden logits. Raises BadModel, Departure, MienError."""
    graph = graph_for(precision, "cpu")
    engine = open_graph_on_cpu(model, graph)
    try:
        return OnCpu(target, why, require_agreement(model, engine, graph))
    finally:
        engine.close()


def _prepare_proven(model: Model, precision: str, target: str, cache: EngineCache, timeout_seconds: float) -> Proven:
    """Prepare and prove one engine; one from the cache that does not open or departs is compiled again, once.

    Every other error, a GPU without free memory for one, says nothing of the engine, which stays.
    """
    graph = graph_for(precision, target)
    model.read_graph(graph)
    read_golden(model, graph)  # what cannot be proven need not be compiled for minutes
    prepared = prepare_engine(model, graph, target, cache, timeout_seconds)
    try:
        return _prove(model, prepared)
    except (BadModel, Departure) as failure:
        if prepared.cached.compiled_now:
            cache.discard(prepared.key, prepared.cached)
            raise
        log.warning("%s; compiling it again", failure)
    return replace_engine(prepared, model, cache, lambda fresh: _prove(model, fresh))


def _prove(model: Model, prepared: PreparedEngine) -> Proven:
    """Open an engine and hold it to the golden logits. Raises BadModel and Departure where the engine is at fault."""
    engine = open_prepared(model, prepared)
    try:
        return Proven(prepared, require_agreement(model, engine, prepared.graph))
    finally:
        engine.close()
