"""Open a model's graph as an engine on a target. The precision lies in the graph; the target picks the file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.card import PRECISIONS, Model
from runtime.engines.engine import Engine
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput, BadModel, GpuLost, MienError
from runtime.machine import find_gpu

if TYPE_CHECKING:
    from runtime.engines.prepared_engine import PreparedEngine

log = logging.getLogger(__name__)

TARGETS = ("cpu", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx", "auto")
GPU_TARGETS = ("tensorrt", "tensorrt-rtx")  # in the order that `auto` tries them


def graph_for(precision: str, target: str) -> str:
    """Return which graph file a precision means on a target: INT8 has a CPU and a GPU form. Raises BadInput.

    What `auto` means is known once its engine is open: ask with `engine.target`.
    """
    if precision not in PRECISIONS:
        raise BadInput(f"expected a precision of {', '.join(PRECISIONS)}, found {precision!r}")
    if target not in TARGETS:
        raise BadInput(f"expected a target of {', '.join(TARGETS)}, found {target!r}")
    return "int8-gpu" if precision == "int8" and target not in ("cpu", "auto") else precision


def open_engine(model: Model, precision: str, target: str = "auto", threads: int = 0, cache: Path | None = None,
                may_compile: bool = True) -> Engine:
    """Open a model on a target; `auto` is the first of tensorrt, tensorrt-rtx and cpu that works here.

    cache: where engines are kept; None: the user's cache folder. may_compile: False uses only what `mien prepare` left,
    as a service does. Raises BadInput, BadModel, Unavailable, MienError.
    """
    graph = graph_for(precision, target)
    if target in GPU_TARGETS:
        return _open_compiled(model, graph, target, cache, may_compile)
    if target == "auto" and find_gpu(Path("/")):
        reasons = []
        for name in GPU_TARGETS:
            try:
                return open_engine(model, precision, name, threads, cache, may_compile)
            except GpuLost:  # a new process may find it well
                raise
            except MienError as error:  # a machine with a GPU and nothing to use it with still reads faces
                reasons.append(str(error))
        log.warning("auto stays on the CPU beside an NVIDIA GPU: %s", "; ".join(reasons))
    return _open_in_onnxruntime(model, graph, threads, "cpu" if target == "auto" else target)


def _open_compiled(model: Model, graph: str, target: str, cache: Path | None, may_compile: bool) -> Engine:
    """Open an engine from the cache, compiled first where that is allowed."""
    from runtime.engines.cache import EngineCache, engine_folder  # not at the top: a kiosk on its CPU starts sooner
    from runtime.engines.prepared_engine import prepare_engine

    kept = EngineCache(engine_folder(cache), read_only=not may_compile)
    return open_prepared(model, prepare_engine(model, graph, target, kept))


def open_prepared(model: Model, prepared: PreparedEngine) -> Engine:
    """Open an engine from the cache on the GPU. Raises BadModel, MienError, Unavailable."""
    engine = prepared.open()
    try:
        match_card(model, engine)
    except BadModel:
        engine.close()
        raise
    return engine


def open_graph_on_cpu(model: Model, graph: str, threads: int = 0) -> Engine:
    """Open one graph file in ONNX Runtime; the GPU form too, whose arithmetic it can follow. Raises BadModel."""
    return _open_in_onnxruntime(model, graph, threads, "cpu")


def _open_in_onnxruntime(model: Model, graph: str, threads: int, target: str) -> Engine:
    engine = OnnxRuntimeEngine(model.read_graph(graph), str(model.directory / f"{graph}.onnx"),
                               graph.removesuffix("-gpu"), threads, fuse_qdq=not graph.endswith("-gpu"), target=target)
    match_card(model, engine)
    return engine


def match_card(model: Model, engine: Engine) -> None:
    """Refuse a graph whose input or output is not what the card says."""
    card, where = model.card, model.directory
    inputs, outputs = {i.name: i for i in engine.inputs}, {o.name: o for o in engine.outputs}
    if set(inputs) != {card.input_name} or card.output_name not in outputs:
        raise BadModel(f"expected input {card.input_name} and output {card.output_name} in {where}, found "
                       f"{', '.join(inputs)} and {', '.join(outputs)}")
    shape = inputs[card.input_name].shape
    wanted = (card.input.channels, card.input.height, card.input.width)
    if inputs[card.input_name].dtype != "uint8" or any(s not in (None, w) for s, w in zip(shape[1:], wanted)):
        raise BadModel(f"expected a uint8 input of (N, {', '.join(map(str, wanted))}) in {where}, found "
                       f"{inputs[card.input_name].dtype} {shape}")
    classes = outputs[card.output_name].shape[-1]
    if card.task == "expression" and classes != len(card.labels):
        raise BadModel(f"expected {len(card.labels)} outputs for the card's labels in {where}, found {classes}; "
                       "the label count is wrong")
