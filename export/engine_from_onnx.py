"""A model directory → engines compiled ahead of time, each with a sidecar that says what it was made of.

Knows nothing of how a compiler is called (`runtime/engines/compile.py`) or how an engine runs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.card import Model
from runtime.durable import write_bytes, write_text
from runtime.engines import graph_for
from runtime.engines.compile import CompileRequest, compile_onnx
from runtime.errors import BadInput


@dataclass(frozen=True)
class BuiltEngine:
    """One engine file and the facts in its sidecar."""

    engine: Path
    sidecar: Path
    facts: dict[str, Any]


def engine_from_onnx(model: Model, precision: str, target: str, gpu: str | None, out: Path,
                     timeout_seconds: float) -> BuiltEngine:
    """Compile one precision for one GPU generation into `out`. Raises BadInput, BadModel, Unavailable, MienError."""
    if target == "cpu":
        raise BadInput("expected a target that compiles, found cpu; it needs no build: mien stream runs it as it is")
    if target == "auto":
        raise BadInput("expected a target to build for, found auto; say --target tensorrt-rtx or tensorrt")
    graph = graph_for(precision, target)
    content = model.read_graph(graph)
    card = model.card
    request = CompileRequest(target, gpu, card.input_name, (card.input.channels, card.input.height, card.input.width),
                             timeout_seconds=timeout_seconds)
    compiled = compile_onnx(content, request)
    built = compiled.built
    facts: dict[str, Any] = {
        "model": card.name,
        "precision": precision,
        "graph": graph,
        "graph_sha256": hashlib.sha256(content).hexdigest(),
        "target": target,
        "gpu": gpu or "here",
        "compiler_version": built.compiler_version,
        "batches": list(request.batches),
        "tf32": False,
        "network_layers": built.layers,
        "inputs": built.inputs,
        "outputs": built.outputs,
        "engine_bytes": len(built.content),
        "engine_sha256": hashlib.sha256(built.content).hexdigest(),
        "build_seconds": round(compiled.seconds, 2),
        "build_peak_bytes": compiled.peak_bytes,
        "compiler_warnings": list(built.warnings),
        "layers_proven": "no: the inspector needs a GPU",
    }
    stem = f"{card.name}-{precision}-{target}-{gpu or 'here'}"
    engine, sidecar = out / f"{stem}.engine", out / f"{stem}.json"
    write_bytes(engine, built.content)
    write_text(sidecar, json.dumps(facts, indent=2) + "\n")
    return BuiltEngine(engine, sidecar, facts)
