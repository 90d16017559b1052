"""What is checked: a graph and the engine that answers for it, as a CPU's own kernels compute it or as a GPU would.

On a CPU the GPU's form says nothing of a GPU's own kernels. fp16 is computed with every tensor rounded to half: ONNX
Runtime's CPU computes it in float32, which would hide what overflows; int8-gpu with its Q/DQ as they are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from calibration.onnx_graph import parse_model
from export.half_arithmetic import half_arithmetic
from runtime.card import Model
from runtime.engines import graph_for, match_card, open_engine, open_graph_on_cpu
from runtime.engines.engine import Engine
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine

FormName = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Form:
    """One graph of a model and its engine. name: `gpu` where a GPU computes it, or a CPU as a GPU would; else `cpu`."""

    graph: str
    engine: Engine
    name: FormName = "cpu"


def open_form(model: Model, precision: str, target: str = "cpu", name: FormName | None = None, threads: int = 0,
              cache: Path | None = None) -> Form:
    """Open what `precision` means on a target. name: on a CPU alone; without one it is `gpu` for fp16, else `cpu`.

    Raises BadInput, BadModel, Unavailable, MienError.
    """
    if target != "cpu":
        return Form(graph_for(precision, target), open_engine(model, precision, target, threads, cache), "gpu")
    name = name or ("gpu" if precision == "fp16" else "cpu")
    if name == "cpu":
        return Form(precision, open_engine(model, precision, "cpu", threads), name)
    graph = graph_for(precision, "tensorrt")
    return Form(graph, open_gpu_form(model, graph, threads), name)


def open_gpu_form(model: Model, graph: str, threads: int = 0) -> Engine:
    """Open a graph on the CPU as its target would compute it. Raises BadModel."""
    if graph != "fp16":
        return open_graph_on_cpu(model, graph, threads)
    name = str(model.directory / "fp16.onnx")
    rounded = half_arithmetic(parse_model(model.read_graph("fp16"), name))
    engine = OnnxRuntimeEngine(rounded.SerializeToString(), f"{name} in half arithmetic", "fp16", threads)
    match_card(model, engine)
    return engine
