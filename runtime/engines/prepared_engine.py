"""A model's graph → the engine for the GPU that is here: from the cache, or compiled now and kept there.

Knows nothing of faces, nor of which graph a precision means (`runtime/engines/__init__.py`).
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from runtime.card import Model
from runtime.engines.build_progress import shown_progress
from runtime.engines.cache import CachedEngine, EngineCache
from runtime.engines.compile import Compiled, CompileRequest, compile_onnx
from runtime.engines.engine import Engine
from runtime.engines.engine_key import Device, EngineKey
from runtime.engines.tensorrt_api import load_compiler
from runtime.errors import MienError, Unavailable
from runtime.machine import find_gpu

TIMEOUT_SECONDS = CompileRequest.timeout_seconds
T = TypeVar("T")


@dataclass(frozen=True)
class PreparedEngine:
    """An engine that this machine made, and what it was made for."""

    cached: CachedEngine
    key: EngineKey
    graph: str
    request: CompileRequest

    @property
    def precision(self) -> str:
        """The precision a person asked for."""
        return self.graph.removesuffix("-gpu")

    def open(self) -> Engine:
        """Deserialize the verified bytes on the GPU. Raises MienError, Unavailable."""
        # not at the top: a machine without a GPU needs neither this nor what it imports
        from runtime.engines.tensorrt_engine import TensorRTEngine

        return TensorRTEngine(self.cached.engine, str(self.cached.path), self.precision, self.request.target,
                              self.request.batches, kernels=self.cached.kernels)


def prepare_engine(model: Model, graph: str, target: str, cache: EngineCache,
                   timeout_seconds: float = TIMEOUT_SECONDS) -> PreparedEngine:
    """Find or compile the engine of one graph for the GPU that is here.

    Raises Unavailable (GPU, library; an engine, where the cache is read-only), BadInput, BadModel, MienError.
    """
    device = _device_here(target)
    version = str(load_compiler(target).__version__)
    content = model.read_graph(graph)
    card = model.card
    request = CompileRequest(target, None, card.input_name, (card.input.channels, card.input.height, card.input.width),
                             batches=card.batches, timeout_seconds=timeout_seconds)
    key = EngineKey.of(content, request, version, device)
    cached = cache.get(key, lambda: _compile(model, graph, request, version), _command(model, graph, target, cache))
    return PreparedEngine(cached, key, graph, request)


def replace_engine(unfit: PreparedEngine, model: Model, cache: EngineCache, prove: Callable[[PreparedEngine], T]) -> T:
    """Compile an engine again; the new one takes the old one's place once `prove` returns. Returns what it returned.

    Raises what `prove` raises, which leaves the old engine in the cache, BadInput, BadModel, Unavailable, MienError.
    """
    return cache.replace(unfit.key, unfit.cached,
                         lambda: _compile(model, unfit.graph, unfit.request, unfit.key.compiler_version),
                         lambda fresh: prove(dataclasses.replace(unfit, cached=fresh)))


def _compile(model: Model, graph: str, request: CompileRequest, version: str) -> Compiled:
    with shown_progress(f"{model.card.name} {graph} for {request.target}") as watch:
        compiled = compile_onnx(model.read_graph(graph), request, watch)
    if compiled.built.compiler_version != version:
        raise MienError(f"expected an engine by {request.target} {version}, found one by "
                        f"{compiled.built.compiler_version}: it was updated meanwhile; run this again")
    return compiled


def _device_here(target: str) -> Device:
    if not find_gpu(Path("/")):  # before anything of CUDA is imported
        raise Unavailable(f"expected an NVIDIA GPU to run {target} on, found none; use --target cpu")
    from runtime.engines.cuda_api import device_facts  # not at the top, as above

    return device_facts()


def _command(model: Model, graph: str, target: str, cache: EngineCache) -> str:
    """What a person runs to have this engine."""
    words = ["mien", "prepare", str(model.directory), "--precision", graph.removesuffix("-gpu"), "--target", target,
             "--cache", str(cache.folder)]
    return shlex.join(words)
