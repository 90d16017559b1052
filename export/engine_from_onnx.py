"""A model directory → an engine with a sidecar that says what it was made of, and what each of its layers became.

Compiled for the GPU that is here, whose inspector then tells the layers, or ahead of time for others. Knows nothing of
how a compiler is called (`runtime/engines/compile.py`) or how an engine runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibration.lint import advice_for, lint
from calibration.onnx_graph import parse_model
from export.asked_types import asked_types
from runtime.card import Model
from runtime.durable import write_bytes, write_text
from runtime.engines import graph_for
from runtime.engines.compile import Compiled, CompileRequest, compile_onnx
from runtime.engines.cuda_api import device_facts
from runtime.engines.inspector import parse_layers
from runtime.engines.layer_verdicts import JudgedLayer, count_verdicts, judge_layers
from runtime.engines.tensorrt_api import load_compiler
from runtime.engines.tensorrt_builder import Watch
from runtime.errors import BadInput, BadModel, MienError, Unavailable
from runtime.machine import find_gpu, gpu_name

MOST_NAMED = 5  # layers in one line; --layers and --json have them all


@dataclass(frozen=True)
class CompiledModel:
    """An engine that lies nowhere yet: its file's stem, its facts, the inspector's JSON and the layers judged by it.

    Without an inspector's answer the last two are empty, and the facts say why.
    """

    stem: str
    content: bytes
    facts: dict[str, Any]
    inspected: str = ""
    layers: tuple[JudgedLayer, ...] = ()


@dataclass(frozen=True)
class BuiltEngine:
    """One engine file and the facts in its sidecar."""

    engine: Path
    sidecar: Path
    facts: dict[str, Any]


def request_for(model: Model, target: str, gpu: str | None, timing_folder: Path | None = None) -> CompileRequest:
    """Return what to compile a model for, its batches from the card. Raises BadInput for what needs no compiling.

    timing_folder: keeps one timing cache a GPU and compiler, which spares later builds the measuring of kernels.
    TensorRT-RTX measures none: its timing cache is an empty shell (deprecated in 1.2), so it gets no file.
    """
    if target == "cpu":
        raise BadInput("expected a target that compiles, found cpu; it needs no build: mien stream runs it as it is")
    if target == "auto":
        raise BadInput("expected a target to build for, found auto; say --target tensorrt-rtx or tensorrt")
    card = model.card
    timings = _timing_cache(timing_folder) if timing_folder is not None and target == "tensorrt" else ""
    return CompileRequest(target, gpu, card.input_name, (card.input.channels, card.input.height, card.input.width),
                          batches=card.batches, timing_cache=timings, inspect=True)


def _timing_cache(folder: Path) -> str:
    """Return the file of this GPU's and this TensorRT's timings; '' where there is neither, as the build will say."""
    if not find_gpu(Path("/")):  # before anything of CUDA is imported
        return ""
    try:
        device, version = device_facts(), load_compiler("tensorrt").__version__
    except Unavailable:
        return ""
    name = re.sub(r"[^a-z0-9.]+", "-", f"{device.name} {device.sm} tensorrt {version}".lower()).strip("-")
    return str(folder / f"{name}.timing")


def engine_from_onnx(model: Model, precision: str, request: CompileRequest, out: Path,
                     watch: Watch | None = None) -> BuiltEngine:
    """Compile one precision into `out`. Raises what `compile_model` raises."""
    return write_engine(compile_model(model, precision, request, watch), out)


def compile_model(model: Model, precision: str, request: CompileRequest, watch: Watch | None = None) -> CompiledModel:
    """Compile one precision and judge its layers; writes nothing.

    Raises BadInput, BadModel with lint's advice, Unavailable, MienError.
    """
    graph = graph_for(precision, request.target)
    content = model.read_graph(graph)
    try:
        compiled = compile_onnx(content, request, watch)
    except BadModel as error:
        raise BadModel(f"{error}{_advice(content, request.target, str(error))}") from error
    layers: tuple[JudgedLayer, ...] = ()
    if compiled.inspected:
        layers = judge_inspected(model, precision, request.target, compiled.inspected, "the inspector's answer")
    smallest, _, largest = request.batches
    stem = "-".join([model.card.name, precision, request.target, (request.gpu or "here").replace(",", "+"),
                     *([f"batch{largest}"] if smallest == largest else [])])
    facts = _facts(model, precision, graph, content, request, compiled, layers)
    return CompiledModel(stem, compiled.built.content, facts, compiled.inspected, layers)


def require_writable(out: Path) -> None:
    """Refuse what `write_engine` could not write into, before minutes are spent. Makes nothing. Raises BadInput."""
    nearest = next(place for place in (out.absolute(), *out.absolute().parents) if os.path.lexists(place))
    try:
        with tempfile.TemporaryFile(dir=nearest):  # asking for rights would miss a read-only disk of root's
            return
    except OSError as error:
        raise BadInput(f"expected a folder to write engines into, found {error}; choose another --out") from error


def write_engine(compiled: CompiledModel, out: Path) -> BuiltEngine:
    """Write the engine, its sidecar, and the inspector's JSON where there is one, each whole or not at all."""
    engine, sidecar = out / f"{compiled.stem}.engine", out / f"{compiled.stem}.json"
    layers = out / f"{compiled.stem}.layers.json"
    require_writable(out)
    layers.unlink(missing_ok=True)  # an earlier build's, which says nothing of this engine
    write_bytes(engine, compiled.content)
    write_text(sidecar, json.dumps(compiled.facts, indent=2) + "\n")
    if compiled.inspected:
        write_text(layers, compiled.inspected)
    return BuiltEngine(engine, sidecar, compiled.facts)


def judge_inspected(model: Model, precision: str, target: str, inspected: str, name: str) -> tuple[JudgedLayer, ...]:
    """Judge the inspector's JSON, from wherever, against the graph that a precision means on a target.

    name: where the JSON is from, for errors. Raises BadInput, BadModel.
    """
    graph = graph_for(precision, target)
    asked = asked_types(parse_model(model.read_graph(graph), f"{graph}.onnx"))
    judged = judge_layers(parse_layers(inspected, name), asked)
    if not any(layer.nodes for layer in judged) and any(layer.verdict != "opaque" for layer in judged):
        raise BadInput(f"expected layers of {model.card.name}'s {graph}.onnx in {name}, found none that names one of "
                       "its nodes; give the JSON of this model's engine")
    return judged


def require_as_asked(layers: tuple[JudgedLayer, ...]) -> None:
    """Raise MienError where a layer is not as asked."""
    wrong = [layer for layer in layers if layer.verdict == "not as asked"]
    if wrong:
        more = f"; and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        named = "; ".join(f"{layer.layer.name}: {layer.why}" for layer in wrong[:MOST_NAMED])
        raise MienError(f"expected every layer as the graph asks, found {len(wrong)} of {len(layers)} otherwise: "
                        f"{named}{more}; --layers FILE shows every layer, mien build without --strict keeps the engine")


def _facts(model: Model, precision: str, graph: str, content: bytes, request: CompileRequest, compiled: Compiled,
           layers: tuple[JudgedLayer, ...]) -> dict[str, Any]:
    built = compiled.built
    return {
        "model": model.card.name,
        "precision": precision,
        "graph": graph,
        "graph_sha256": hashlib.sha256(content).hexdigest(),
        "target": request.target,
        "gpu": request.gpu or "here",
        "gpus": list(built.gpus) or [gpu_name() or "the GPU that is here"],
        "gpus_left_out": built.left_out,
        "compiler_version": built.compiler_version,
        "batches": list(request.batches),
        "workspace_bytes": request.workspace_bytes,
        "tf32": built.tf32,
        "network_layers": built.layers,
        "inputs": built.inputs,
        "outputs": built.outputs,
        "engine_bytes": len(built.content),
        "engine_sha256": hashlib.sha256(built.content).hexdigest(),
        "engine_memory": built.memory,
        "build_seconds": round(compiled.seconds, 2),
        "build_peak_bytes": compiled.peak_bytes,
        "compiler_warnings": list(built.warnings),
        "layers": count_verdicts(layers) if layers else None,
        "layers_not_inspected": compiled.not_inspected or None,
    }


def _advice(content: bytes, target: str, error: str) -> str:
    """What lint says of a graph that the parser refused, to be put behind its error; nothing where it knows nothing."""
    try:
        findings = advice_for(error, lint(parse_model(content, "the graph"), target))
    except BadModel:  # not even ONNX: the parser's word stands alone
        return ""
    said = dict.fromkeys(f"{finding.node}: {finding.found}; {finding.rule.fix} ({finding.rule.id})"
                         for finding in findings[:MOST_NAMED])
    return f"; mien lint says: {'; '.join(said)}" if said else ""
