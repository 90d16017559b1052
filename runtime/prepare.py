"""What `mien prepare` does before a service starts: compile the engine it will open, and hold it to PyTorch's answers.

A oneshot that may write the cache; the service only reads it. Knows nothing of cameras or faces.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.card import Model
from runtime.engines import GPU_TARGETS, graph_for, open_prepared
from runtime.engines.cache import EngineCache
from runtime.engines.prepared_engine import PreparedEngine, prepare_engine
from runtime.errors import GpuLost, MienError, Unavailable
from runtime.golden import Agreement, require_agreement
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


def prepare(model: Model, precision: str, target: str, cache: EngineCache, timeout_seconds: float) -> Proven | None:
    """Leave a proven engine in the cache; None where `target` needs none: it is cpu, or auto without an NVIDIA GPU.

    Raises Unavailable, BadInput, BadModel, and MienError where a fresh engine departs from PyTorch's golden logits.
    """
    graph_for(precision, target)
    if target == "auto":
        return _prepare_first(model, precision, cache, timeout_seconds) if find_gpu(Path("/")) else None
    return None if target == "cpu" else _prepare_proven(model, precision, target, cache, timeout_seconds)


def _prepare_first(model: Model, precision: str, cache: EngineCache, timeout_seconds: float) -> Proven:
    """Prepare for the first compiler that is here, which is the one `auto` will ask for."""
    missing = []
    for target in GPU_TARGETS:
        try:
            return _prepare_proven(model, precision, target, cache, timeout_seconds)
        except GpuLost:  # no other compiler reaches it either
            raise
        except Unavailable as error:
            missing.append(str(error))
    raise Unavailable("; ".join(missing))


def _prepare_proven(model: Model, precision: str, target: str, cache: EngineCache, timeout_seconds: float,
                    fresh: bool = False) -> Proven:
    """Prepare and prove one engine; one from the cache that does not open or departs is compiled again, once."""
    graph = graph_for(precision, target)
    model.read_golden()  # what cannot be proven need not be compiled for minutes
    prepared = prepare_engine(model, graph, target, cache, timeout_seconds, fresh)
    try:
        engine = open_prepared(model, prepared)
        try:
            return Proven(prepared, require_agreement(model, engine, graph))
        finally:
            engine.close()
    except Unavailable:  # no fault of the engine's
        raise
    except MienError as failure:
        cache.discard(prepared.cached.path)
        if prepared.cached.compiled_now:
            raise
        log.warning("%s; compiling it again", failure)
    return _prepare_proven(model, precision, target, cache, timeout_seconds, fresh=True)
